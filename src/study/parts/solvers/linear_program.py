"""Linear programs by HiGHS: one set of constraints, many linear functions to maximise over it."""

from __future__ import annotations

from functools import cached_property

import highspy
import numpy as np
from numpy.typing import NDArray

Vector = NDArray[np.float64]


class LinearProgram:
    """Maximises linear functions of x [d] subject to rows @ x + offsets >= 0 and lower <= x <= upper.

    Each solution starts from the basis of the one before (primal simplex, one thread: deterministic).

    Args:
        rows: [H, d]; offsets: [H]; lower, upper: [d]; all float64.
    """

    def __init__(self, rows: Vector, offsets: Vector, lower: Vector, upper: Vector) -> None:
        self.rows, self.offsets = rows, offsets
        self.lower, self.upper = lower, upper
        self.solved = 0

    def maximum(self, costs: Vector) -> float | None:
        """Maximum of costs @ x; None where the solver reaches no optimum (an infeasible or unbounded program)."""
        solver = self._solver
        solver.changeColsCost(len(costs), np.arange(len(costs), dtype=np.int32), costs)
        solver.run()
        self.solved += 1
        if solver.getModelStatus() != highspy.HighsModelStatus.kOptimal:
            return None
        return float(solver.getInfo().objective_function_value)

    @cached_property
    def _solver(self) -> highspy.Highs:
        """The solver with the constraints in it; built for the first program."""
        count, dimensions = self.rows.shape
        program = highspy.HighsLp()
        program.num_row_, program.num_col_ = count, dimensions
        program.sense_ = highspy.ObjSense.kMaximize
        program.col_cost_ = np.zeros(dimensions)
        program.col_lower_, program.col_upper_ = self.lower, self.upper
        program.row_lower_, program.row_upper_ = -self.offsets, np.full(count, highspy.kHighsInf)
        matrix = program.a_matrix_
        matrix.format_ = highspy.MatrixFormat.kRowwise
        matrix.start_ = np.arange(count + 1, dtype=np.int32) * dimensions
        matrix.index_ = np.tile(np.arange(dimensions, dtype=np.int32), count)
        matrix.value_ = self.rows.ravel()
        solver = _SilentSolver()
        solver.setOptionValue("threads", 1)
        solver.setOptionValue("solver", "simplex")
        solver.passModel(program)
        return solver


class _SilentSolver(highspy.Highs):
    """HiGHS without its banner, which it prints while it registers callbacks."""

    def enableCallbacks(self) -> None:  # noqa: N802 (the library's name)
        self.silent()
        super().enableCallbacks()
