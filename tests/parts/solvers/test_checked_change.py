import numpy as np
import pytest

from study.parts.solvers.checked_change import checked_change
from study.parts.solvers.demands import Change, Solving, ended
from study.parts.solvers.linear_program import Vector


def change_of(eps: float, left_out: tuple[int, ...] = ()) -> Change:
    return Change(np.full(1, eps), eps, np.array(left_out, dtype=np.int64), rows=1, programs=2)


def solve(eps: float) -> Solving:
    yield {}
    return change_of(eps)


def right_from(least: float) -> object:
    return lambda vector: np.array([True, vector[0] >= least])


@pytest.mark.parametrize(
    ("least", "eps", "programs"), [(0.0, 0.01, 2), (0.05, 0.1, 4), (5.0, 10.0, 8), (99.0, 10.0, 8)]
)
def test_the_margin_grows_until_every_wanted_item_is_right_three_times_at_most(
    least: float, eps: float, programs: int
) -> None:
    found = ended(checked_change(solve, right_from(least), np.array([True, True]), 0.01))  # type: ignore[arg-type]
    assert found.eps == pytest.approx(eps)
    assert found.change.programs == programs
    assert found.right.tolist() == [True, least <= 10]


def test_items_that_are_not_wanted_or_left_out_do_not_matter() -> None:
    def wrong(vector: Vector) -> np.ndarray:
        return np.array([True, False])

    assert ended(checked_change(solve, wrong, np.array([True, False]), 0.01)).eps == 0.01

    def leaving(eps: float) -> Solving:
        yield {}
        return change_of(eps, (1,))

    assert ended(checked_change(leaving, wrong, np.array([True, True]), 0.01)).eps == 0.01
    assert ended(checked_change(solve, wrong, np.array([True, True]), 0.01, tries=0)).eps == 0.01
