from itertools import product

import numpy as np
import pytest
from scipy.optimize import linprog

from study.parts.solvers.integer_program import Affine, SoftProgram

EPS = 1e-3


def drawn(seed: int) -> SoftProgram:
    """Six soft and three hard functions of three numbers."""
    generator = np.random.default_rng(seed)
    soft = Affine(generator.normal(size=(6, 3)), generator.normal(-0.6, 0.5, size=6))
    hard = Affine(generator.normal(size=(3, 3)), generator.uniform(0, 0.3, size=3))
    return SoftProgram(soft, hard, bound=0.5, eps=EPS)


def least_change(program: SoftProgram, chosen: list[bool]) -> float | None:
    """Smallest sum |x_i| with which the chosen soft functions hold and all hard ones; None where they cannot."""
    rows = np.concatenate([program.soft.rows[chosen], program.hard.rows])
    least = np.concatenate([EPS - program.soft.offsets[chosen], program.floors - program.hard.offsets])
    width = rows.shape[1]
    result = linprog(np.ones(2 * width), A_ub=np.hstack([-rows, rows]), b_ub=-least, bounds=(0, program.bound))
    return None if result.x is None else float(result.fun)


@pytest.mark.parametrize("seed", range(8))
def test_it_is_the_best_and_smallest_of_all_subsets(seed: int) -> None:
    program = drawn(seed)
    possible = [
        (sum(chosen), change)
        for chosen in product([False, True], repeat=6)
        if (change := least_change(program, list(chosen))) is not None
    ]
    most = max(count for count, _ in possible)
    solution = program.solution()
    assert program.satisfied(solution) == most and program.feasible(solution)
    assert np.abs(solution).sum() == pytest.approx(min(size for count, size in possible if count == most), abs=1e-6)
    assert np.abs(solution).max() <= program.bound
    assert program.solved == (2 if most > program.satisfied(np.zeros(3)) else 1)


def test_what_conflicts_is_counted_and_what_is_nearly_broken_stays() -> None:
    soft = Affine(np.array([[1.0], [-1.0], [1.0], [1.0]]), np.array([-0.1, -0.1, -0.2, -9.0]))
    assert SoftProgram(soft, Affine(np.zeros((0, 1)), np.zeros(0)), bound=0.5, eps=EPS).solution() == pytest.approx(
        [0.2 + EPS]
    )
    tight = Affine(np.array([[-1.0]]), np.array([EPS / 10]))  # below the margin already: must not fall further
    program = SoftProgram(soft, tight, bound=0.5, eps=EPS)
    assert program.feasible(np.zeros(1)) and program.solution() == pytest.approx([-0.1 - EPS])


def test_nothing_to_gain_is_no_change() -> None:
    soft = Affine(np.array([[1.0, 0.0], [1.0, 0.0]]), np.array([-9.0, 1.0]))
    program = SoftProgram(soft, Affine(np.zeros((0, 2)), np.zeros(0)), bound=0.5, eps=EPS)
    assert not program.solution().any()


def test_the_best_of_some_points_is_that_of_a_loop() -> None:
    program = drawn(3)
    points = np.random.default_rng(1).uniform(-0.5, 0.5, size=(200, 3))
    best, most = np.zeros(3), int((program.soft.offsets >= EPS / 2).sum())
    for point in points:
        holds = all(row @ point + at >= floor / 2 for row, at, floor in zip(*program.hard, program.floors, strict=True))
        count = sum(row @ point + at >= EPS / 2 for row, at in zip(*program.soft, strict=True))
        if holds and count > most:
            best, most = point, count
    assert np.array_equal(program.best_of(points), best) and best.any()
