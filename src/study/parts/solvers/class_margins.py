"""Demands on a layer that gives the logits: of each input that its class wins by a margin."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from study.parts.solvers.demands import KEEPS, Items, Rows, worst
from study.parts.solvers.linear_program import Vector


@dataclass(frozen=True)
class ClassMargins:
    """Demands (see demands.py) on the change D [C, d] of a layer, row by row as one vector u.

    Row (i, k), k any other class than the label y of item i:  (D_y - D_k) @ f_i >= floors_ik.

    features: [m, d] float64, what enters the layer; a last column of ones where the layer has a bias; labels: [m];
    floors: [m, C], -inf where nothing is demanded; wanted: [m] bool, of the items that count as such; the rows of the
    others hold at D = 0; at_once: rows added in one round.
    """

    features: Vector
    labels: Items
    floors: Vector
    wanted: NDArray[np.bool_]
    at_once: int

    @classmethod
    def of(
        cls,
        features: Vector,
        logits: Vector,
        labels: Items,
        wanted: NDArray[np.bool_],
        eps: float,
        kept: float | None = None,
    ) -> ClassMargins:
        """Each wanted item is to win by `eps`; each other one by `kept` (None: by as much), or by its present margin
        if that is less.

        `logits`: [m, C], of the unchanged layer. Rows of an item that is neither wanted nor right are left out.
        """
        numbers = np.arange(len(labels))
        behind = logits - logits[numbers, labels][:, None]
        floors = np.where(wanted[:, None], behind + eps, np.minimum(behind + (eps if kept is None else kept), 0.0))
        floors[~wanted & (logits.argmax(1) != labels)] = -np.inf
        floors[numbers, labels] = -np.inf
        few = features.shape[1] * logits.shape[1] <= 2000
        return cls(features, labels, floors, wanted, 2000 if few else 100)

    @property
    def width(self) -> int:
        return int(self.features.shape[1] * self.floors.shape[1])

    @property
    def items(self) -> int:
        return len(self.labels)

    def first(self) -> Rows:
        """Of each wanted item the class that is ahead of its label by most."""
        ahead = self.floors.argmax(1)
        items = np.flatnonzero(self.wanted & (self.floors.max(1, initial=-np.inf) > 0))
        return self.rows(items, ahead[items])

    def violated(self, change: Vector, missed: Vector | None = None) -> Rows:
        """Of each item that misses a row the one that it misses by most, of these the worst `at_once`."""
        moved = self.features @ change.reshape(self.floors.shape[1], -1).T
        short = self.floors - (moved[np.arange(self.items), self.labels][:, None] - moved)
        items = worst(short.max(1) - (0.0 if missed is None else missed), self.at_once)
        return self.rows(items, short.argmax(1)[items])

    def without(self, items: Items) -> ClassMargins:
        floors = self.floors.copy()
        floors[items] = -np.inf
        return replace(self, floors=floors)

    def rows(self, items: Items, classes: Items) -> Rows:
        """The rows (i, k) for pairs of `items` and `classes`, [R] each."""
        values = self.features[items]
        columns = np.arange(values.shape[1])
        index = np.stack([block[:, None] * len(columns) + columns for block in (self.labels[items], classes)], axis=1)
        data = np.stack([values, -values], axis=1)
        starts = np.arange(len(items) + 1) * 2 * len(columns)
        matrix = csr_array((data.ravel(), index.ravel(), starts), shape=(len(items), self.width))
        matrix.eliminate_zeros()
        return Rows(matrix, self.floors[items, classes], np.where(self.wanted[items], items, KEEPS))
