import numpy as np
import pytest
from scipy.sparse import csr_array

from study.parts.solvers import least_distance as part
from study.parts.solvers.least_distance import LeastDistance, least_distance
from study.parts.solvers.linear_program import NoOptimum, Vector


def rows(count: int, width: int, seed: int) -> tuple[Vector, Vector]:
    """Random inequalities that hold at some far point, so that they can hold at once."""
    generator = np.random.default_rng(seed)
    matrix = generator.normal(size=(count, width))
    return matrix, matrix @ generator.normal(size=width) - generator.random(count) ** 2


def grown(matrix: Vector, floors: Vector, part_sizes: list[int]) -> list[Vector]:
    """The nearest points while rows are added in parts."""
    program, points, start = LeastDistance(matrix.shape[1]), [], 0
    for size in part_sizes:
        program.add(csr_array(matrix[start : start + size]), floors[start : start + size])
        points.append(program.nearest())
        start += size
    return points


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(("count", "width"), [(40, 60), (60, 40), (90, 60)])
def test_it_finds_the_point_of_least_squares_without_solving_them(
    seed: int, count: int, width: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    matrix, floors = rows(count, width, seed)
    sizes = [count // 4, count // 2, count - count // 4 - count // 2]
    expected = [least_distance(matrix[:end], floors[:end]) for end in np.cumsum(sizes)]
    monkeypatch.setattr(part, "least_distance", lambda *_: pytest.fail("it was not accurate"))
    for point, other in zip(grown(matrix, floors, sizes), expected, strict=True):
        np.testing.assert_allclose(point, other, atol=1e-7)


@pytest.mark.parametrize("seed", range(5))
def test_of_many_rows_in_few_dimensions_it_finds_the_point_too(seed: int) -> None:
    matrix, floors = rows(300, 30, seed)
    (point,) = grown(matrix, floors, [300])
    np.testing.assert_allclose(point, least_distance(matrix, floors), atol=1e-7)


def test_duplicates_and_rows_of_other_lengths_change_nothing() -> None:
    matrix, floors = rows(40, 60, 0)
    (expected,) = grown(matrix, floors, [40])
    scale = np.random.default_rng(1).random(40)[:, None] + 0.1
    again = np.concatenate([matrix, matrix * scale]), np.concatenate([floors, floors * scale[:, 0]])
    (point,) = grown(*again, [80])
    np.testing.assert_allclose(point, expected, atol=1e-7)


def test_where_pivoting_ends_without_a_point_least_squares_are_solved(monkeypatch: pytest.MonkeyPatch) -> None:
    matrix, floors = rows(60, 40, 3)
    (expected,) = grown(matrix, floors, [60])
    monkeypatch.setattr(part, "_PIVOTS", 0)
    (point,) = grown(matrix, floors, [60])
    np.testing.assert_allclose(point, expected, atol=1e-7)


def test_rows_that_cannot_hold_at_once_have_no_point_and_none_have_zero() -> None:
    matrix = np.array([[1.0, 2.0], [-1.0, -2.0]])
    with pytest.raises(NoOptimum, match="infeasible"):
        grown(matrix, np.array([1.0, 1.0]), [2])
    assert not grown(matrix, np.array([-1.0, -3.0]), [2])[0].any()
    (nothing,) = grown(np.empty((0, 2)), np.empty(0), [0])
    assert nothing.tolist() == [0.0, 0.0]
