"""The smallest vector u that satisfies sparse linear demands M u >= r, by programs that grow only where they must.

Of thousands of demands few bind. Solve with a few rows, ask for those that the solution violates, add them, solve
again: when none is violated, the optimum is that of all rows. Demands that cannot all hold are thinned out first.

Sources: the homogenised maximum-norm program and the least-distance program (Lawson & Hanson, "Solving Least Squares
Problems", 1974, chapter 23) that stands for the Euclidean norm.
"""

from __future__ import annotations

import time
from collections.abc import Generator, Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import nnls
from scipy.sparse import csr_array, hstack, vstack

from study.parts.solvers.linear_program import LinearProgram, NoOptimum, Vector

Norm = Literal["linf", "l1", "l2"]
Items = NDArray[np.int64]
TOLERANCE = 1e-6
"""By how much a demand may be missed."""
KEEPS = -1
"""Owner of a demand that u = 0 satisfies: it is never left out."""
_ROOM = (1e-7, 1e-6, 1e-5)
"""Relative room above the least maximum norm for the second program: the solver's tolerance, more where it needs it."""
_SPREAD = 1e-3
"""How far the prices of the numbers lie apart: the least sum is exact up to this share."""
_LARGEST_SCALE = 1e9
_LEAST_REST = 1e-9
"""The rest is 1 / (1 + |u|^2): a smaller one is rounding around 0, which means that no u will do."""


class Rows(NamedTuple):
    """Demands matrix @ u >= floors: matrix [R, n] in CSR form, floors [R], and which item makes each, owners [R].

    An owner is an item's number, or KEEPS.
    """

    matrix: csr_array
    floors: Vector
    owners: Items


class Demands(Protocol):
    """What is demanded of a vector u, by items and by nobody in particular."""

    @property
    def width(self) -> int:
        """Numbers of u, n."""
        ...

    @property
    def items(self) -> int:
        """How many items there are; they are numbered from 0."""
        ...

    def first(self) -> Rows:
        """The rows to start with."""
        ...

    def violated(self, change: Vector, missed: Vector | None = None) -> Rows:
        """The worst of the rows that `change` [n] misses by more than TOLERANCE; none where it misses none.

        missed: [items], by how much each item's rows may be missed besides.
        """
        ...

    def without(self, items: Items) -> Demands:
        """The demands without those that the given items own; items keep their numbers."""
        ...


@dataclass(frozen=True)
class Change:
    """A smallest change.

    vector: [n]; size: its norm; left_out: items whose demands could not be met beside the others', ascending; rows:
    demands of the largest program; programs: how many were solved.
    """

    vector: Vector
    size: float
    left_out: Items
    rows: int
    programs: int


Solving = Generator[Mapping[str, float], None, Change]
"""A search for the smallest change: yields what to log after each program, returns the change."""


class _Clock:
    """Counts down from a number of seconds, None: from infinity."""

    def __init__(self, seconds: float | None) -> None:
        self._end = None if seconds is None else time.monotonic() + seconds

    @property
    def left(self) -> float | None:
        """Seconds left, at least 0."""
        return None if self._end is None else max(0.0, self._end - time.monotonic())

    def check(self) -> None:
        """Raises NoOptimum where no time is left."""
        if self.left == 0.0:
            raise NoOptimum("out of time")


def least_change(demands: Demands, norm: Norm = "linf", *, limit: float = 1e3, seconds: float | None = None) -> Solving:
    """The u of least norm that meets the demands.

    Of the many vectors with the least maximum norm it is one with the least sum of absolute values: which of them a
    solver happens to return would decide what else changes. So the same demands, in any order, get the same change.

    Args:
        limit: bound of each |u_j|, above 0. `l2` does not hold to it.
        seconds: for all programs together.

    Raises NoOptimum: within the limit no demand that 0 does not meet can be met, or the time ran out.
    """
    clock = _Clock(seconds)
    solve = {"linf": _least_maximum, "l1": _least_sum, "l2": _least_square}[norm]
    left_out, programs = np.empty(0, dtype=np.int64), 0
    try:
        change = yield from solve(demands, limit, clock)
    except NoOptimum as failure:
        if failure.end != "infeasible":
            raise
        left_out, programs = yield from contradicting(demands, limit, clock)
        change = yield from solve(demands.without(left_out), limit, clock)
    return Change(change.vector, change.size, left_out, change.rows, programs + change.programs)


def contradicting(
    demands: Demands, limit: float, clock: _Clock
) -> Generator[Mapping[str, float], None, tuple[Items, int]]:
    """Items without which the rest can be met within the limit, and the number of programs solved.

    The sum over items of how far each is missed is minimised: few are missed at all, though not always the fewest.
    """
    lower = np.concatenate([np.full(demands.width, -limit), np.zeros(demands.items)])
    upper = np.concatenate([np.full(demands.width, limit), np.full(demands.items, np.inf)])
    costs = np.concatenate([np.zeros(demands.width), np.ones(demands.items)])
    program, rows = LinearProgram(lower, upper), demands.first()
    while True:
        asked = np.flatnonzero(rows.owners != KEEPS)
        places = (asked, rows.owners[asked])
        slack = csr_array((np.ones(len(asked)), places), shape=(len(rows.floors), demands.items))
        program.add(hstack([rows.matrix, slack], format="csr"), rows.floors)
        point = program.minimum(costs, clock.left).point
        missed = point[demands.width :]
        out = np.flatnonzero(missed > TOLERANCE)
        yield {"program/rows": program.height, "program/missed": len(out)}
        rows = demands.violated(point[: demands.width], missed)
        if not len(rows.floors):
            return out, program.solved


def _least_maximum(demands: Demands, limit: float, clock: _Clock) -> Solving:
    """With v = u / t and s = 1 / t: max s, so that M v - r s >= 0 and |v| <= 1; then the least sum with |u| <= t."""
    program = LinearProgram(*_box(demands.width, 1.0, 1 / limit, _LARGEST_SCALE))
    costs = np.zeros(demands.width + 1)
    costs[-1] = -1.0
    kept = rows = demands.first()
    while True:
        program.add(hstack([rows.matrix, csr_array(-rows.floors[:, None])], format="csr"), np.zeros(len(rows.floors)))
        point = program.minimum(costs, clock.left).point
        scale = point[-1]
        vector = point[:-1] / scale if scale < _LARGEST_SCALE else np.zeros(demands.width)
        yield {"program/rows": program.height, "program/size": float(np.abs(vector).max(initial=0.0))}
        rows = demands.violated(vector)
        if not len(rows.floors):
            break
        kept = _both(kept, rows)
    if not vector.any():
        return Change(vector, 0.0, np.empty(0, dtype=np.int64), program.height, program.solved)
    for room in _ROOM:
        try:
            least = yield from _least_sum(demands, (1 + room) / scale, clock, kept)
        except NoOptimum as failure:
            if failure.end != "infeasible" or room == _ROOM[-1]:
                raise
        else:
            break
    return Change(least.vector, 1 / scale, least.left_out, least.rows, program.solved + least.programs)


def _least_sum(demands: Demands, limit: float, clock: _Clock, rows: Rows | None = None) -> Solving:
    """u = p - q with p, q >= 0: min sum (p + q), each at its price."""
    width = demands.width
    program = LinearProgram(np.zeros(2 * width), np.full(2 * width, limit))
    rows = demands.first() if rows is None else rows
    while True:
        program.add(hstack([rows.matrix, -rows.matrix], format="csr"), rows.floors)
        point = program.minimum(np.tile(_prices(width), 2), clock.left).point
        vector = point[:width] - point[width:]
        yield {"program/rows": program.height, "program/size": float(np.abs(vector).sum())}
        rows = demands.violated(vector)
        if not len(rows.floors):
            size = float(np.abs(vector).sum())
            return Change(vector, size, np.empty(0, dtype=np.int64), program.height, program.solved)


def _least_square(demands: Demands, limit: float, clock: _Clock) -> Solving:
    """Non-negative least squares min |E w - e|, E = [M'; r'], e the last unit vector: u = -rest / last of the rest."""
    rows, rounds = demands.first(), 0
    while True:
        vector = least_distance(rows)
        rounds += 1
        clock.check()
        size = float(np.linalg.norm(vector))
        yield {"program/rows": len(rows.floors), "program/size": size}
        more = demands.violated(vector)
        if not len(more.floors):
            return Change(vector, size, np.empty(0, dtype=np.int64), len(rows.floors), rounds)
        rows = _both(rows, more)


def least_distance(rows: Rows) -> Vector:
    """The u [n] of least Euclidean norm with M u >= r; raises NoOptimum where there is none.

    With more unknowns than rows, a QR decomposition of [E, e] leaves a problem of as many equations as rows.
    """
    if not len(rows.floors):
        return np.zeros(rows.matrix.shape[1])
    matrix = rows.matrix.toarray()
    lengths = np.maximum(np.linalg.norm(matrix, axis=1), np.finfo(float).tiny)
    equations = np.vstack([matrix.T, rows.floors]) / lengths
    last = np.zeros(len(equations))
    last[-1] = 1.0
    reduced, wanted = equations, last
    if len(equations) > len(lengths) + 1:
        _, triangle = np.linalg.qr(np.column_stack([equations, last]))
        reduced, wanted = triangle[:, :-1], triangle[:, -1]
    try:
        weights, _ = nnls(reduced, wanted)
    except RuntimeError as error:  # its limit of iterations
        raise NoOptimum("numerical trouble") from error
    rest = equations @ weights - last
    if -rest[-1] < _LEAST_REST:
        raise NoOptimum("infeasible")
    vector: Vector = -rest[:-1] / rest[-1]
    return vector


def _prices(width: int) -> Vector:
    """Costs of the numbers, all but equal: where raising one row or lowering another does the same, the cheaper moves.

    With equal costs the optimum would not be unique, and the order of the rows would choose it.
    """
    prices: Vector = 1 + _SPREAD * np.modf(np.arange(width) * (np.sqrt(5) - 1) / 2)[0]
    return prices


def _both(rows: Rows, more: Rows) -> Rows:
    """The rows of both."""
    matrix = vstack([rows.matrix, more.matrix], format="csr")
    return Rows(matrix, np.concatenate([rows.floors, more.floors]), np.concatenate([rows.owners, more.owners]))


def _box(width: int, bound: float, least: float, largest: float) -> tuple[Vector, Vector]:
    """Bounds of `width` variables in [-bound, bound] and a last one in [least, largest]."""
    lower, upper = np.full(width + 1, -bound), np.full(width + 1, bound)
    lower[-1], upper[-1] = least, largest
    return lower, upper
