"""Demands on one neuron of a Linear layer: that after its ReLU it takes given values on given inputs."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy.sparse import csr_array

from study.parts.solvers.demands import TOLERANCE, Items, Norm, Rows
from study.parts.solvers.linear_program import Vector

DUAL: dict[Norm, float] = {"linf": 1, "l1": np.inf, "l2": 2}
"""Order of the norm in which features are measured where changes are measured in the norm: |x @ f| <= |x| |f|."""


@dataclass(frozen=True)
class NeuronValues:
    """Demands (see demands.py) on the change x [d] of a neuron's weights.

    On item i with the features f_i the change x @ f_i is to be wanted_i - present_i where that makes a positive value,
    and at most -present_i where the value is to be 0.

    features: [m, d] float64, what enters the layer; a last column of ones where it has a bias; present: [m], values
    before the ReLU; wanted: [m], values after it, at least 0; NaN: any will do.
    """

    features: Vector
    present: Vector
    wanted: Vector

    @property
    def width(self) -> int:
        return int(self.features.shape[1])

    @property
    def items(self) -> int:
        return len(self.features)

    def first(self) -> Rows:
        """All rows: an equation is two."""
        at_most, at_least = np.flatnonzero(self.wanted >= 0), np.flatnonzero(self.wanted > 0)
        gaps = self.wanted - self.present
        matrix = np.concatenate([-self.features[at_most], self.features[at_least]])
        floors = np.concatenate([-gaps[at_most], gaps[at_least]])
        return Rows(csr_array(matrix), floors, np.concatenate([at_most, at_least]))

    def violated(self, change: Vector, missed: Vector | None = None) -> Rows:
        """All rows that it misses."""
        rows = self.first()
        short = rows.floors - rows.matrix @ change - (0.0 if missed is None else missed[rows.owners])
        broken = np.flatnonzero(short > TOLERANCE)
        return Rows(rows.matrix[broken], rows.floors[broken], rows.owners[broken])

    def without(self, items: Items) -> NeuronValues:
        wanted = self.wanted.copy()
        wanted[items] = np.nan
        return replace(self, wanted=wanted)


def least_sizes(features: Vector, present: Vector, wanted: Vector, norm: Norm) -> Vector:
    """Lower bounds of the changes' norms of w neurons, [w]: of each what the hardest item alone takes.

    features: [m, d]; present, wanted: [m, w], as in NeuronValues, none NaN.
    """
    missing = np.where(wanted > 0, np.abs(wanted - present), np.maximum(present, 0.0))
    reach = np.linalg.norm(features, DUAL[norm], axis=1)[:, None]
    with np.errstate(divide="ignore", invalid="ignore"):  # features all 0, without bias: nothing moves
        needed = np.where(missing > 0, missing / reach, 0.0)
    bounds: Vector = needed.max(0, initial=0.0)
    return bounds
