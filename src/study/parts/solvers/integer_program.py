"""As many linear inequalities as can hold at once, by mixed-integer programs (scipy's HiGHS).

This is MaxSMT over one bounded vector: hard rows must hold, soft rows count 1 each. Of the optima the one with the
smallest sum of absolute values is returned; z3, which the authors of NNrepair use, returns any.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import Bounds, LinearConstraint, milp

Vector = NDArray[np.float64]


class Affine(NamedTuple):
    """Affine functions rows @ x + offsets of a vector x [d]: rows [R, d], offsets [R], float64."""

    rows: Vector
    offsets: Vector

    def at(self, points: Vector) -> Vector:
        """Values [..., R] at points [..., d]."""
        values: Vector = points @ self.rows.T + self.offsets
        return values


class SoftProgram:
    """Which x, |x_i| <= bound, makes the most functions of `soft` at least eps and keeps those of `hard` so?

    A hard function that is below eps at 0 (but not below 0) must not fall below its value there, so that x = 0 is a
    candidate always.

    Args:
        soft, hard: functions of the same x; hard ones are at least 0 at 0.
        bound: above 0; eps: margin, above 0.
    """

    def __init__(self, soft: Affine, hard: Affine, *, bound: float, eps: float) -> None:
        self.soft, self.hard, self.bound, self.eps = soft, hard, bound, eps
        self.floors = np.minimum(hard.offsets, eps)
        self.solved = 0

    def satisfied(self, points: Vector) -> NDArray[np.int64]:
        """Number of soft functions that hold at each point, up to half the margin: [...] for points [..., d]."""
        counts: NDArray[np.int64] = (self.soft.at(points) >= self.eps / 2).sum(-1)
        return counts

    def feasible(self, points: Vector) -> NDArray[np.bool_]:
        """Whether all hard functions hold at each point, up to half the margin that they must keep."""
        kept: NDArray[np.bool_] = np.all(self.hard.at(points) >= self.floors / 2, axis=-1)
        return kept

    def solution(self, seconds: float | None = None) -> Vector:
        """The best x [d], after two programs of at most `seconds` each: the largest count, then the least change.

        Where the time runs out it is the best that was found; 0 where that is no better.
        """
        best, count = self._solve(np.zeros(2 * self._width), np.ones(len(self.soft.offsets)), 0, seconds)
        if not self._improves(best):
            return np.zeros(self._width)
        least, _ = self._solve(np.ones(2 * self._width), np.zeros(len(self.soft.offsets)), count, seconds)
        return least if self._improves(least) and self.satisfied(least) >= count else best

    def best_of(self, points: Vector) -> Vector:
        """The first of the feasible points [P, d], and 0 before them, that satisfies most: the solver's control."""
        points = np.concatenate([np.zeros((1, self._width)), points])
        chosen: Vector = points[np.where(self.feasible(points), self.satisfied(points), -1).argmax()]
        return chosen

    @property
    def _width(self) -> int:
        return int(self.soft.rows.shape[1])

    def _improves(self, point: Vector) -> bool:
        return bool(self.feasible(point)) and bool(self.satisfied(point) > self.satisfied(np.zeros(self._width)))

    def _solve(self, change: Vector, count: Vector, at_least: int, seconds: float | None) -> tuple[Vector, int]:
        """x = p - q that minimises change @ [p, q] - count @ s, with s_r = 1 only where soft function r holds.

        At least so many hold; x = 0 and none if nothing was found in time; else x and the sum of s.
        """
        soft, hard = self.soft, self.hard
        # With s_r = 0 its row holds for every x within the bound.
        slack = np.maximum(0.0, self.eps - soft.offsets + self.bound * np.abs(soft.rows).sum(1))
        constraints = [
            LinearConstraint(
                np.hstack([soft.rows, -soft.rows, -np.diag(slack)]), lb=self.eps - soft.offsets - slack, ub=np.inf
            ),
            LinearConstraint(
                np.concatenate([np.zeros(2 * self._width), np.ones(len(slack))]), lb=at_least - 0.5, ub=np.inf
            ),
        ]
        if len(hard.offsets):
            unused = np.zeros((len(hard.offsets), len(slack)))
            rows = np.hstack([hard.rows, -hard.rows, unused])
            constraints.append(LinearConstraint(rows, lb=self.floors - hard.offsets, ub=np.inf))
        self.solved += 1
        result = milp(
            np.concatenate([change, -count]),
            constraints=constraints,
            integrality=np.concatenate([np.zeros(2 * self._width), np.ones(len(slack))]),
            bounds=Bounds(0, np.concatenate([np.full(2 * self._width, self.bound), np.ones(len(slack))])),
            options={} if seconds is None else {"time_limit": seconds},
        )
        if result.x is None:
            return np.zeros(self._width), 0
        positive, negative, held = np.split(result.x, [self._width, 2 * self._width])
        return np.clip(positive - negative, -self.bound, self.bound), round(held.sum())
