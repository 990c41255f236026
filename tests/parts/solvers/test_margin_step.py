import numpy as np
import pytest

from study.parts.solvers.class_margins import ClassMargins
from study.parts.solvers.demands import ended
from study.parts.solvers.least_change import least_change
from study.parts.solvers.margin_step import hinge_descent, smallest_step, step_along_hinge
from tests.parts.solvers.test_least_change import margins


def held(demands: ClassMargins, step: float) -> int:
    """Items that have what they demand at that step down the hinge loss."""
    moved = demands.features @ (step * hinge_descent(demands)).reshape(demands.floors.shape[1], -1).T
    leads = moved[np.arange(demands.items), demands.labels][:, None] - moved
    return int((leads >= demands.floors - 1e-9).all(1).sum())


@pytest.mark.parametrize("seed", range(4))
def test_no_step_holds_more_items_and_no_smaller_one_as_many(seed: int) -> None:
    demands = margins(seed=seed)
    step = smallest_step(demands, hinge_descent(demands))
    most = held(demands, step)
    grid = np.linspace(0, 5 * step + 1, 4001)
    counts = np.array([held(demands, each) for each in grid])
    assert most >= counts.max() and most > held(demands, 0.0)
    assert (counts[grid < step * (1 - 1e-9)] < most).all()


def test_the_direction_is_that_of_the_hinge_loss() -> None:
    demands = margins()

    def loss(change: np.ndarray) -> float:
        moved = demands.features @ change.reshape(demands.floors.shape[1], -1).T
        leads = moved[np.arange(demands.items), demands.labels][:, None] - moved
        return float(np.maximum((demands.floors - leads).max(1), 0)[demands.wanted].sum())

    direction = hinge_descent(demands)
    ahead = np.zeros(demands.width)
    for place in range(demands.width):
        unit = np.eye(demands.width)[place]
        ahead[place] = (loss(-1e-6 * unit) - loss(1e-6 * unit)) / 2e-6
    np.testing.assert_allclose(direction, ahead, atol=1e-6)


def test_wanted_items_that_miss_a_demand_are_left_out_and_the_program_changes_less() -> None:
    demands = margins()
    change = step_along_hinge(demands, "linf")
    moved = demands.features @ change.vector.reshape(4, -1).T
    leads = moved[np.arange(demands.items), demands.labels][:, None] - moved
    missing = (leads < demands.floors - 1e-6).any(1)
    assert change.left_out.tolist() == np.flatnonzero(missing & demands.wanted).tolist()
    assert change.size == np.abs(change.vector).max() and change.programs == 0
    alone = margins(items=3, targets=3)
    gradient = step_along_hinge(alone, "linf")
    assert not len(gradient.left_out)
    assert ended(least_change(alone, "linf")).size < gradient.size
