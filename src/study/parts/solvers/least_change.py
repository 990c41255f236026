"""The smallest vector u that satisfies sparse linear demands M u >= r, by programs that grow only where they must.

Of thousands of demands few bind. Solve with a few rows, ask for those that the solution violates, add them, solve
again: when none is violated, the optimum is that of all rows. Demands that cannot all hold are thinned out first.

Source: the homogenised maximum-norm program is a textbook's; for the Euclidean norm see least_distance.py.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping
from typing import NamedTuple

import numpy as np
from scipy.sparse import csr_array, hstack, vstack

from study.parts.solvers.contradictions import met_by_most
from study.parts.solvers.demands import Change, Clock, Demands, Norm, Rows, Solving, check_progress, ended, prices
from study.parts.solvers.least_distance import LeastDistance
from study.parts.solvers.linear_program import LinearProgram, NoOptimum, Vector

_ROOM = (1e-7, 1e-6, 1e-5)
"""Relative room above the least maximum norm for the second program: the solver's tolerance, more where it needs it."""
_TIGHT = 1e-5
"""A row that is met by no more than this binds."""
_LARGEST_SCALE = 1e9


def least_change(demands: Demands, norm: Norm = "linf", *, limit: float = 1e3, seconds: float | None = None) -> Solving:
    """The u of least norm that meets the demands.

    Of the many vectors with the least maximum norm it is one with the least sum of absolute values: which of them a
    solver happens to return would decide what else changes. So the same demands, in any order, get the same change.

    Args:
        limit: bound of each |u_j|, above 0. `l2` does not hold to it.
        seconds: for all programs together.

    Raises NoOptimum: within the limit no demand that 0 does not meet can be met, or the time ran out.
    """
    solve = {"linf": _least_maximum, "l1": _least_sum, "l2": _least_square}[norm]
    return met_by_most(lambda these, clock: solve(these, limit, clock), demands, limit, Clock(seconds))


def least_size(demands: Demands, norm: Norm = "linf", *, limit: float = 1e3) -> float:
    """The norm of the least change, without the second program of `linf`; infinite where no change within `limit` will
    do, whose meaning is that of `least_change`."""
    clock = Clock(None)
    try:
        if norm == "linf":
            return ended(_smallest_box(demands, limit, clock)).size
        return ended({"l1": _least_sum, "l2": _least_square}[norm](demands, limit, clock)).size
    except NoOptimum:
        return float("inf")


class _Smallest(NamedTuple):
    """The least maximum norm `size`, a vector that has it, the rows that this took and how many programs."""

    size: float
    vector: Vector
    kept: Rows
    programs: int

    @property
    def binding(self) -> Rows:
        """The rows that the vector just meets: the second program starts with them, and asks for what else it needs."""
        tight = self.kept.matrix @ self.vector - self.kept.floors < _TIGHT
        return Rows(self.kept.matrix[tight], self.kept.floors[tight], self.kept.owners[tight])


def _smallest_box(demands: Demands, limit: float, clock: Clock) -> Generator[Mapping[str, float], None, _Smallest]:
    """With v = u / t and s = 1 / t: max s, so that M v - r s >= 0 and |v| <= 1."""
    program = LinearProgram(*_box(demands.width, 1.0, 1 / limit, _LARGEST_SCALE))
    costs = np.zeros(demands.width + 1)
    costs[-1] = -1.0
    kept = rows = demands.first()
    before: Vector | None = None
    while True:
        program.add(hstack([rows.matrix, csr_array(-rows.floors[:, None])], format="csr"), np.zeros(len(rows.floors)))
        point = program.minimum(costs, clock.left).point
        scale = point[-1]
        vector = point[:-1] / scale if scale < _LARGEST_SCALE else np.zeros(demands.width)
        yield {"program/rows": program.height, "program/size": float(np.abs(vector).max(initial=0.0))}
        check_progress(vector, before)
        rows, before = demands.violated(vector), vector
        if not len(rows.floors):
            return _Smallest(1 / scale if vector.any() else 0.0, vector, kept, program.solved)
        kept = _both(kept, rows)


def _least_maximum(demands: Demands, limit: float, clock: Clock) -> Solving:
    """The smallest box, then in it the vector with the least sum of absolute values."""
    box = yield from _smallest_box(demands, limit, clock)
    if not box.size:
        return Change(box.vector, 0.0, np.empty(0, dtype=np.int64), len(box.kept.floors), box.programs)
    for room in _ROOM:
        try:
            least = yield from _least_sum(demands, (1 + room) * box.size, clock, box.binding)
        except NoOptimum as failure:
            if failure.end != "infeasible" or room == _ROOM[-1]:
                raise
        else:
            break
    rows = max(len(box.kept.floors), least.rows)
    return Change(least.vector, box.size, least.left_out, rows, box.programs + least.programs)


def _least_sum(demands: Demands, limit: float, clock: Clock, rows: Rows | None = None) -> Solving:
    """u = p - q with p, q >= 0: min sum (p + q), each at its price."""
    width = demands.width
    program = LinearProgram(np.zeros(2 * width), np.full(2 * width, limit))
    rows = demands.first() if rows is None else rows
    before: Vector | None = None
    while True:
        program.add(hstack([rows.matrix, -rows.matrix], format="csr"), rows.floors)
        point = program.minimum(np.tile(prices(width), 2), clock.left).point
        vector = point[:width] - point[width:]
        yield {"program/rows": program.height, "program/size": float(np.abs(vector).sum())}
        check_progress(vector, before)
        rows, before = demands.violated(vector), vector
        if not len(rows.floors):
            size = float(np.abs(vector).sum())
            return Change(vector, size, np.empty(0, dtype=np.int64), program.height, program.solved)


def _least_square(demands: Demands, limit: float, clock: Clock) -> Solving:
    """The least Euclidean norm."""
    program, rows, height, rounds = LeastDistance(demands.width), demands.first(), 0, 0
    before: Vector | None = None
    while True:
        program.add(rows.matrix, rows.floors)
        vector = program.nearest()
        height, rounds = height + len(rows.floors), rounds + 1
        clock.check()
        size = float(np.linalg.norm(vector))
        yield {"program/rows": height, "program/size": size}
        check_progress(vector, before)
        rows, before = demands.violated(vector), vector
        if not len(rows.floors):
            return Change(vector, size, np.empty(0, dtype=np.int64), height, rounds)


def _both(rows: Rows, more: Rows) -> Rows:
    """The rows of both."""
    matrix = vstack([rows.matrix, more.matrix], format="csr")
    return Rows(matrix, np.concatenate([rows.floors, more.floors]), np.concatenate([rows.owners, more.owners]))


def _box(width: int, bound: float, least: float, largest: float) -> tuple[Vector, Vector]:
    """Bounds of `width` variables in [-bound, bound] and a last one in [least, largest]."""
    lower, upper = np.full(width + 1, -bound), np.full(width + 1, bound)
    lower[-1], upper[-1] = least, largest
    return lower, upper
