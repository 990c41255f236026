"""Demands that cannot all be met: which items to leave out, so that the rest can."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping

import numpy as np
from scipy.sparse import csr_array, hstack

from study.parts.solvers.demands import KEEPS, TOLERANCE, Change, Clock, Demands, Items, Solving, check_progress, prices
from study.parts.solvers.linear_program import LinearProgram, NoOptimum, Vector

_MANY = 10**6
"""From so many items times numbers on, interior point: each growing program anew is faster than from the last basis."""


def met_by_most(solve: Callable[[Demands, Clock], Solving], demands: Demands, limit: float, clock: Clock) -> Solving:
    """What `solve` finds for the demands or, where they cannot all hold within the limit, for those left of them."""
    left_out, programs = np.empty(0, dtype=np.int64), 0
    try:
        change = yield from solve(demands, clock)
    except NoOptimum as failure:
        if failure.end != "infeasible":
            raise
        left_out, programs = yield from contradicting(demands, limit, clock)
        change = yield from solve(demands.without(left_out), clock)
    return Change(change.vector, change.size, left_out, change.rows, programs + change.programs)


def contradicting(
    demands: Demands, limit: float, clock: Clock
) -> Generator[Mapping[str, float], None, tuple[Items, int]]:
    """Items without which the rest can be met within the limit, and the number of programs solved.

    The sum over items of how far each is missed, at its price, is minimised: few are missed at all, though not always
    the fewest. Of identical items with contradicting demands those that are fewer are missed.
    """
    lower = np.concatenate([np.full(demands.width, -limit), np.zeros(demands.items)])
    upper = np.concatenate([np.full(demands.width, limit), np.full(demands.items, np.inf)])
    costs = np.concatenate([np.zeros(demands.width), prices(demands.items)])
    large = demands.items * demands.width > _MANY
    program, rows = LinearProgram(lower, upper, solver="ipm" if large else "simplex"), demands.first()
    before: Vector | None = None
    while True:
        asked = np.flatnonzero(rows.owners != KEEPS)
        places = (asked, rows.owners[asked])
        slack = csr_array((np.ones(len(asked)), places), shape=(len(rows.floors), demands.items))
        program.add(hstack([rows.matrix, slack], format="csr"), rows.floors)
        point = program.minimum(costs, clock.left).point
        check_progress(point, before)
        missed, before = point[demands.width :], point
        out = np.flatnonzero(missed > TOLERANCE)
        yield {"program/rows": program.height, "program/missed": len(out)}
        rows = demands.violated(point[: demands.width], missed)
        if not len(rows.floors):
            return out, program.solved
