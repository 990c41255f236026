import numpy as np
import pytest
from scipy.optimize import linprog
from scipy.sparse import csr_array

from study.parts.solvers.linear_program import LinearProgram, NoOptimum

ROWS = np.array([[1.0, 0.0], [0.0, 1.0], [-1.0, -1.0]])
FLOORS = np.array([0.0, 0.0, -1.0])
"""The triangle x, y >= 0, x + y <= 1."""


def triangle(lower: float = -1.0, upper: float = 2.0) -> LinearProgram:
    program = LinearProgram(np.full(2, lower), np.full(2, upper))
    program.add(csr_array(ROWS), FLOORS)
    return program


@pytest.mark.parametrize("solver", ["simplex", "ipm"])
def test_minima_of_one_program_after_another_are_those_of_another_solver(solver: str) -> None:
    generator = np.random.default_rng(0)
    rows, floors = generator.normal(size=(12, 4)), -generator.uniform(0.1, 1, size=12)
    lower, upper = np.full(4, -2.0), np.full(4, 3.0)
    program = LinearProgram(lower, upper, solver=solver)  # type: ignore[arg-type]
    for count, costs in enumerate(generator.normal(size=(12, 4))):
        program.add(csr_array(rows[count : count + 1]), floors[count : count + 1])  # one row more each time
        known = slice(0, count + 1)
        expected = linprog(costs, A_ub=-rows[known], b_ub=-floors[known], bounds=list(zip(lower, upper, strict=True)))
        optimum = program.minimum(costs)
        assert optimum.cost == pytest.approx(expected.fun, abs=1e-6)
        assert optimum.cost == pytest.approx(costs @ optimum.point, abs=1e-9)
        assert (rows[known] @ optimum.point >= floors[known] - 1e-6).all()
        assert (program.solved, program.height, program.width) == (count + 1, count + 1, 4)


def test_constraints_and_bounds_both_hold() -> None:
    assert triangle().minimum(np.array([-2.0, -1.0])).cost == pytest.approx(-2)
    assert triangle(upper=0.25).minimum(np.array([-2.0, -1.0])).cost == pytest.approx(-0.75)
    assert triangle(lower=0.5).minimum(np.array([1.0, 1.0])).cost == pytest.approx(1)


def test_a_variable_may_come_later() -> None:
    program = triangle()
    program.widen(np.zeros(1), np.full(1, 5.0))
    program.add(csr_array(np.array([[1.0, 0.0, 1.0]])), np.array([3.0]))  # x + z >= 3
    assert program.minimum(np.array([0.0, 0.0, 1.0])).cost == pytest.approx(2)


def test_a_program_without_an_optimum_says_how_it_ends() -> None:
    infeasible = triangle(lower=0.6)
    with pytest.raises(NoOptimum, match="infeasible") as failure:
        infeasible.minimum(np.ones(2))
    assert failure.value.end == "infeasible"
    assert infeasible.solved == 1
    endless = LinearProgram(np.full(2, -np.inf), np.full(2, np.inf))
    endless.add(csr_array(ROWS[:2]), FLOORS[:2])
    with pytest.raises(NoOptimum, match="unbounded"):
        endless.minimum(-np.ones(2))


def test_the_time_limit_is_that_of_one_program() -> None:
    generator = np.random.default_rng(0)
    program = LinearProgram(np.zeros(300), np.full(300, np.inf))
    program.add(csr_array(generator.uniform(size=(300, 300))), np.ones(300))
    with pytest.raises(NoOptimum, match="out of time"):
        program.minimum(np.ones(300), 0.0)
    unlimited = program.minimum(np.ones(300))
    assert program.minimum(np.ones(300), 60.0) == pytest.approx(unlimited.cost) or unlimited.cost > 0


def test_the_solver_prints_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    triangle().minimum(np.ones(2))
    assert capfd.readouterr() == ("", "")
