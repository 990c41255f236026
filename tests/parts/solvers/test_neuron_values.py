import numpy as np
import pytest
from scipy.optimize import linprog, minimize

from study.parts.solvers.demands import Norm, ended
from study.parts.solvers.least_change import least_change, least_size
from study.parts.solvers.neuron_values import NeuronValues, least_sizes

NORMS: list[Norm] = ["linf", "l1", "l2"]


def neuron(items: int = 6, seed: int = 0) -> NeuronValues:
    """A random neuron with a bias, whose values are to grow, to shrink, to become 0, and to stay 0 or as they are."""
    generator = np.random.default_rng(seed)
    features = np.column_stack([np.maximum(generator.normal(size=(items, 15)), 0), np.ones(items)])
    present = features @ generator.normal(size=16)
    moves = generator.normal(size=items) * (np.arange(items) % 3 > 0)
    return NeuronValues(features, present, np.maximum(np.maximum(present, 0) + moves, 0))


def independent(demands: NeuronValues, norm: Norm) -> float:
    """The least norm by a program of the textbook, equations and inequalities apart, solved by scipy."""
    on = demands.wanted > 0
    gaps, count = demands.wanted - demands.present, demands.width
    equal, below = demands.features[on], demands.features[~on]
    if norm == "l2":
        constraints = [
            {"type": "eq", "fun": lambda x: equal @ x - gaps[on]},
            {"type": "ineq", "fun": lambda x: gaps[~on] - below @ x},
        ]
        start = np.zeros(count)
        found = minimize(lambda x: x @ x, start, constraints=constraints, method="SLSQP", options={"ftol": 1e-14})
        return float(np.sqrt(found.fun))
    if norm == "l1":
        costs, share = np.ones(2 * count), -np.eye(count)
        rows, floors = np.hstack([below, -below]), gaps[~on]
        return float(linprog(costs, rows, floors, np.hstack([equal, -equal]), gaps[on]).fun)
    share = np.ones((count, 1))
    none = np.zeros((count, 1))
    rows = np.vstack(
        [
            np.hstack([below, none[: len(below)]]),
            np.hstack([np.eye(count), -share]),
            np.hstack([-np.eye(count), -share]),
        ]
    )
    floors = np.concatenate([gaps[~on], np.zeros(2 * count)])
    equations = np.hstack([equal, none[: len(equal)]])
    costs = np.append(np.zeros(count), 1.0)
    return float(linprog(costs, rows, floors, equations, gaps[on], bounds=(None, None)).fun)


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("seed", range(3))
def test_the_values_are_reached_by_the_least_change(norm: Norm, seed: int) -> None:
    demands = neuron(seed=seed)
    assert (demands.wanted == 0).any() and (demands.wanted > 0).any()
    change = ended(least_change(demands, norm))
    reached = np.maximum(demands.present + demands.features @ change.vector, 0)
    np.testing.assert_allclose(reached, demands.wanted, atol=1e-6)
    expected = independent(demands, norm)
    assert change.size == pytest.approx(expected, rel=1e-5)
    assert least_size(demands, norm) == pytest.approx(expected, rel=1e-5)
    assert change.size > 0.01


@pytest.mark.parametrize("norm", NORMS)
def test_the_hardest_item_bounds_the_size_from_below_and_a_single_one_has_it(norm: Norm) -> None:
    for seed in range(5):
        demands = neuron(seed=seed)
        each = [
            NeuronValues(demands.features[[i]], demands.present[[i]], demands.wanted[[i]]) for i in range(demands.items)
        ]
        alone = [least_size(single, norm) for single in each]
        (bound,) = least_sizes(demands.features, demands.present[:, None], demands.wanted[:, None], norm)
        assert bound == pytest.approx(max(alone), rel=1e-6)
        assert 0 < bound <= least_size(demands, norm) * (1 + 1e-9)


def test_a_value_of_nan_demands_nothing_and_items_can_be_left_out() -> None:
    demands = neuron()
    rest = demands.without(np.array([1, 2]))
    some = np.array([0, 3, 4, 5])
    alone = NeuronValues(demands.features[some], demands.present[some], demands.wanted[some])
    assert least_size(rest, "linf") == pytest.approx(least_size(alone, "linf"))
    assert rest.items == demands.items


def test_what_no_change_reaches_is_infinite() -> None:
    features = np.ones((2, 3))
    same_input = NeuronValues(features, np.zeros(2), np.array([1.0, 2.0]))
    assert least_size(same_input, "linf") == least_size(same_input, "l1") == least_size(same_input, "l2") == np.inf
    nothing_enters = least_sizes(np.zeros((1, 3)), np.zeros((1, 2)), np.array([[0.0, 1.0]]), "linf")
    assert nothing_enters.tolist() == [0.0, np.inf]


def test_where_the_values_are_as_wanted_nothing_changes() -> None:
    demands = neuron()
    kept = NeuronValues(demands.features, demands.present, np.maximum(demands.present, 0.0))
    assert least_size(kept, "linf") == pytest.approx(0.0, abs=1e-9)
    assert not least_sizes(kept.features, kept.present[:, None], kept.wanted[:, None], "l2").any()
