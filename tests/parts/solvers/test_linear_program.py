import numpy as np
import pytest
from scipy.optimize import linprog

from study.parts.solvers.linear_program import LinearProgram

ROWS = np.array([[1.0, 0.0], [0.0, 1.0], [-1.0, -1.0]])
OFFSETS = np.array([0.0, 0.0, 1.0])
"""The triangle x, y >= 0, x + y <= 1."""


def triangle(lower: float = -1.0, upper: float = 2.0) -> LinearProgram:
    return LinearProgram(ROWS, OFFSETS, np.full(2, lower), np.full(2, upper))


def test_maxima_of_one_program_after_another_are_those_of_another_solver() -> None:
    generator = np.random.default_rng(0)
    rows, offsets = generator.normal(size=(12, 4)), generator.uniform(0.1, 1, size=12)
    lower, upper = np.full(4, -2.0), np.full(4, 3.0)
    program = LinearProgram(rows, offsets, lower, upper)
    for count, costs in enumerate(generator.normal(size=(10, 4)), start=1):
        expected = linprog(-costs, A_ub=-rows, b_ub=offsets, bounds=list(zip(lower, upper, strict=True)))
        assert expected.fun is not None
        assert program.maximum(costs) == pytest.approx(-expected.fun, abs=1e-7)
        assert program.solved == count


def test_constraints_and_bounds_both_hold() -> None:
    assert triangle().maximum(np.array([2.0, 1.0])) == pytest.approx(2)
    assert triangle(upper=0.25).maximum(np.array([2.0, 1.0])) == pytest.approx(0.75)
    assert triangle(lower=0.5).maximum(np.array([-1.0, -1.0])) == pytest.approx(-1)


def test_a_program_without_an_optimum_gives_none() -> None:
    infeasible = triangle(lower=0.6)
    assert infeasible.maximum(np.ones(2)) is None
    assert infeasible.solved == 1
    assert LinearProgram(ROWS[:2], OFFSETS[:2], np.full(2, -np.inf), np.full(2, np.inf)).maximum(np.ones(2)) is None


def test_the_solver_prints_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    triangle().maximum(np.ones(2))
    assert capfd.readouterr() == ("", "")
