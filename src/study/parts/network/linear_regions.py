"""Linear regions of a dense head with ReLU or LeakyReLU, and the largest margins between its logits on one of them.

With every hidden unit frozen on or off, such a head is affine. The inputs for which the frozen state is the true one
form its linear region: a convex polytope, cut here with a box.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from scipy.sparse import csr_array
from torch import Tensor

from study.models.piecewise_linear import PiecewiseLinear
from study.parts.solvers.linear_program import LinearProgram, NoOptimum, Vector


@dataclass(frozen=True)
class Region:
    """A linear region in d dimensions: slack = rows @ x + offsets >= 0 (H of them) on lower <= x <= upper.

    On it the logits are logit_rows @ x + logit_offsets.
    """

    rows: Vector
    offsets: Vector
    logit_rows: Vector
    logit_offsets: Vector
    lower: Vector
    upper: Vector

    @classmethod
    def of(cls, head: PiecewiseLinear, pattern: Tensor, lower: Tensor, upper: Tensor) -> Region:
        """The region of an on/off pattern ([H] bool) of a head in float64, within bounds of its input ([d] each).

        A frozen head is affine, so its values at the origin and at the unit vectors determine it.
        """
        origin = torch.zeros(1, len(lower), dtype=torch.float64)
        probes = torch.cat([origin, torch.eye(len(lower), dtype=torch.float64)])
        units, logits = head.run(probes, pattern)
        slacks = torch.where(pattern, units, -units)
        rows, logit_rows = (slacks[1:] - slacks[0]).T, (logits[1:] - logits[0]).T
        parts = (rows, slacks[0], logit_rows, logits[0], lower, upper)
        return cls(*(np.ascontiguousarray(part.numpy()) for part in parts))

    def margin(self, over: int, label: int) -> tuple[Vector, float]:
        """The affine function (row, offset) by which the logit of class `over` exceeds that of `label` here."""
        row = self.logit_rows[over] - self.logit_rows[label]
        return row, float(self.logit_offsets[over] - self.logit_offsets[label])

    def box_bound(self, row: Vector) -> float:
        """Maximum of row @ x over the box alone: an upper bound of that over the region."""
        return float(np.maximum(row * self.lower, row * self.upper).sum())


def largest_excess(region: Region, label: int, eps: float) -> tuple[Tensor, int]:
    """By how much each logit exceeds that of `label` somewhere in a region, plus `eps` and at least 0: [C], float64.

    One linear program per class; a class whose bound over the box shows that it stays within half the largest excess
    gets 0: where half of it is the shift that the label gets, no other shift depends on that class. Also returns the
    number of programs solved. Where the solver reaches no optimum, the bound over the box stands for it.
    """
    excess = torch.zeros(len(region.logit_offsets), dtype=torch.float64)
    margins = {k: region.margin(k, label) for k in range(len(excess)) if k != label}
    bounds = {k: region.box_bound(row) + offset + eps for k, (row, offset) in margins.items()}
    program = LinearProgram(region.lower, region.upper)
    program.add(csr_array(region.rows), -region.offsets)
    for k in sorted(margins, key=lambda k: -bounds[k]):
        row, offset = margins[k]
        if bounds[k] > excess.max() / 2:
            try:
                excess[k] = max(-program.minimum(-row).cost + offset + eps, 0.0)
            except NoOptimum:
                excess[k] = max(bounds[k], 0.0)
    return excess, program.solved
