"""Linear programs by HiGHS that grow: rows are added and costs changed between solutions, each from the last basis."""

from __future__ import annotations

from typing import Literal, NamedTuple

import highspy
import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

Vector = NDArray[np.float64]
End = Literal["infeasible", "unbounded", "out of time", "numerical trouble"]
_ENDS: dict[highspy.HighsModelStatus, End] = {
    highspy.HighsModelStatus.kInfeasible: "infeasible",
    highspy.HighsModelStatus.kUnbounded: "unbounded",
    highspy.HighsModelStatus.kTimeLimit: "out of time",
}


class NoOptimum(Exception):
    """The solver ended without an optimum; `end` says how."""

    def __init__(self, end: End) -> None:
        super().__init__(f"the linear program has no optimum: {end}")
        self.end = end


class Optimum(NamedTuple):
    """The least cost and a point [d] where it is reached."""

    cost: float
    point: Vector


class LinearProgram:
    """Minimises a linear function of x [d] subject to rows @ x >= floors and lower <= x <= upper.

    One thread: deterministic. `solved` counts the programs.

    Args:
        lower, upper: [d] float64, infinite where there is no bound.
        solver: `simplex` starts from the basis of the last solution; `ipm`, interior point without crossover, is
            faster where one large program is solved once, and its point need not be a vertex.
    """

    def __init__(self, lower: Vector, upper: Vector, *, solver: Literal["simplex", "ipm"] = "simplex") -> None:
        self.solved = 0
        self._highs = _SilentSolver()
        for option, value in {"threads": 1, "solver": solver, "run_crossover": "off"}.items():
            self._highs.setOptionValue(option, value)
        self._highs.addVars(len(lower), lower, upper)

    @property
    def width(self) -> int:
        """Number of variables, d."""
        return int(self._highs.getNumCol())

    @property
    def height(self) -> int:
        """Number of rows."""
        return int(self._highs.getNumRow())

    def add(self, rows: csr_array, floors: Vector, ceilings: Vector | None = None) -> None:
        """Add the rows [R, d], ceilings >= rows @ x >= floors ([R] each)."""
        start, index = rows.indptr[:-1].astype(np.int32), rows.indices.astype(np.int32)
        if ceilings is None:
            ceilings = np.full(len(floors), highspy.kHighsInf)
        self._highs.addRows(len(floors), floors, ceilings, rows.nnz, start, index, rows.data)

    def widen(self, lower: Vector, upper: Vector) -> None:
        """Add as many variables, in no row yet."""
        self._highs.addVars(len(lower), lower, upper)

    def minimum(self, costs: Vector, seconds: float | None = None) -> Optimum:
        """The minimum of costs @ x; raises NoOptimum where there is none, or none within `seconds`."""
        self._highs.changeColsCost(len(costs), np.arange(len(costs), dtype=np.int32), costs)
        self._highs.setOptionValue("time_limit", np.inf if seconds is None else self._highs.getRunTime() + seconds)
        self._highs.run()
        self.solved += 1
        status = self._highs.getModelStatus()
        if status != highspy.HighsModelStatus.kOptimal:
            raise NoOptimum(_ENDS.get(status, "numerical trouble"))
        return Optimum(float(self._highs.getObjectiveValue()), np.asarray(self._highs.getSolution().col_value))


class _SilentSolver(highspy.Highs):
    """HiGHS without its banner, which it prints while it registers callbacks."""

    def enableCallbacks(self) -> None:  # noqa: N802 (the library's name)
        self.silent()
        super().enableCallbacks()
