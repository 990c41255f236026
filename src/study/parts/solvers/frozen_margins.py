"""Demands on a layer and what follows it: of each input that its class wins, and that no later unit switches."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse import vstack
from torch import Tensor

from study.parts.network.frozen_layer import FrozenLayer
from study.parts.solvers.demands import KEEPS, Items, Rows, worst
from study.parts.solvers.linear_program import Vector

MARGINS_AT_ONCE, SIGNS_AT_ONCE = 400, 1200
"""Rows of each kind that are added in one round."""


@dataclass(frozen=True)
class FrozenMargins:
    """Demands (see demands.py) on a change u of `layer` (see `FrozenLayer`), on m inputs.

    Row (i, k), k any class but the label y of item i: logit y exceeds logit k by at least margins_ik. Row (i, j):
    the slack of choice j is at least 0, or what it is at u = 0 where rounding has that below. With the choices frozen
    both are affine in u.

    labels: [m]; margins: [m, C], -inf where nothing is demanded; wanted: [m] bool, of the items that count as such (the
    rows of the others hold at u = 0); logits: [m, C], slacks: [m, S], at u = 0; signs: [m] bool, for which items the
    choices are demanded.
    """

    layer: FrozenLayer
    labels: Items
    margins: Vector
    wanted: NDArray[np.bool_]
    logits: Vector
    slacks: Vector
    signs: NDArray[np.bool_]

    @classmethod
    def of(
        cls, layer: FrozenLayer, labels: Tensor, wanted: Tensor, eps: float, kept: float | None = None, *, signs: bool
    ) -> FrozenMargins:
        """Each wanted item is to win by `eps`, each other one by `kept` (None: by as much), or by its present margin if
        that is less.

        Rows of an item that is neither wanted nor right are left out. `signs`: whether choices are demanded at all.
        """
        targets, aimed = labels.numpy(), wanted.numpy()
        logits, slacks = layer.at(np.zeros(layer.width))
        gaps = _gaps(logits, targets)
        margins = np.where(aimed[:, None], eps, np.minimum(gaps, eps if kept is None else kept))
        margins[~aimed & (logits.argmax(1) != targets)] = -np.inf
        margins[np.arange(len(targets)), targets] = -np.inf
        return cls(layer, targets, margins, aimed, logits, slacks, np.full(len(targets), signs))

    @property
    def width(self) -> int:
        return self.layer.width

    @property
    def items(self) -> int:
        return len(self.labels)

    def first(self) -> Rows:
        """Of each wanted item the class that is ahead of its label by most."""
        short = self.margins - _gaps(self.logits, self.labels)
        items = np.flatnonzero(self.wanted & (short.max(1) > 0))
        return self.margin_rows(items, short.argmax(1)[items])

    def violated(self, change: Vector, missed: Vector | None = None) -> Rows:
        """Of each item the class that it misses by most, of these the worst; and the worst of all switched choices."""
        logits, slacks = self.layer.at(change)
        short = self.margins - _gaps(logits, self.labels)
        by = short.max(1) - (0.0 if missed is None else missed)
        items = worst(by, MARGINS_AT_ONCE)
        switched = np.where(self.signs[:, None], np.minimum(self.slacks, 0.0) - slacks, -np.inf).ravel()
        places = worst(switched, SIGNS_AT_ONCE)
        margins = self.margin_rows(items, short.argmax(1)[items])
        if not len(places):
            return margins
        signs = self.sign_rows(*np.divmod(places, slacks.shape[1]))
        matrix = vstack([margins.matrix, signs.matrix], format="csr")
        floors, owners = ([getattr(rows, part) for rows in (margins, signs)] for part in ("floors", "owners"))
        return Rows(matrix, np.concatenate(floors), np.concatenate(owners))

    def without(self, items: Items) -> FrozenMargins:
        margins, signs = self.margins.copy(), self.signs.copy()
        margins[items], signs[items] = -np.inf, False
        return replace(self, margins=margins, signs=signs)

    def margin_rows(self, items: Items, classes: Items) -> Rows:
        """The rows (i, k) for pairs of `items` and `classes`, [R] each."""
        labels = torch.from_numpy(self.labels[items])
        matrix = self.layer.gap_rows(torch.from_numpy(items), labels, torch.from_numpy(classes))
        floors = (self.margins - _gaps(self.logits, self.labels))[items, classes]
        return Rows(matrix, floors, np.where(self.wanted[items], items, KEEPS))

    def sign_rows(self, items: Items, places: Items) -> Rows:
        """The rows (i, j) for pairs of `items` and choices `places`, [R] each. They hold at u = 0."""
        matrix = self.layer.slack_rows(torch.from_numpy(items), torch.from_numpy(places))
        return Rows(matrix, np.minimum(-self.slacks[items, places], 0.0), np.full(len(items), KEEPS))


def _gaps(logits: Vector, labels: Items) -> Vector:
    """By how much the label's logit exceeds each, [m, C]."""
    gaps: Vector = logits[np.arange(len(labels)), labels][:, None] - logits
    return gaps
