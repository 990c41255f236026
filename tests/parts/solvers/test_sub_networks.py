from itertools import pairwise

import numpy as np
import pytest

from study.parts.network.dense_chain import DenseLayer
from study.parts.solvers.demands import ORDER, Norm, ended
from study.parts.solvers.least_change import least_change, least_size
from study.parts.solvers.neuron_values import NeuronValues
from study.parts.solvers.sub_networks import SubNetworks, total

NORMS: list[Norm] = ["linf", "l1", "l2"]


def networks(norm: Norm = "linf", hidden: int = 1, items: int = 4, biased: bool = True) -> SubNetworks:
    """Random layers of 12, 8 (`hidden` times) and 3 numbers; the label of each item is its second best class."""
    generator = np.random.default_rng(1)
    widths = [12, *[8] * hidden, 3]
    layers = [DenseLayer(generator.normal(size=(after, before + biased)), biased) for before, after in pairwise(widths)]
    values = np.abs(generator.normal(size=(items, 12)))
    made = SubNetworks(layers, values, np.zeros(items, dtype=np.int64), norm, 1e-3)
    logits = output(made, [layer.weight for layer in layers])
    return SubNetworks(layers, values, logits.argsort(1)[:, -2], norm, 1e-3)


def output(nets: SubNetworks, weights: list[np.ndarray]) -> np.ndarray:
    """Logits of the chain with other weights."""
    values = nets.values
    for layer, weight in zip(nets.layers[:-1], weights, strict=False):
        values = np.maximum(layer.entering(values) @ weight.T, 0)
    result: np.ndarray = nets.layers[-1].entering(values) @ weights[-1].T
    return result


def some_moves(nets: SubNetworks, seed: int = 0) -> list[np.ndarray]:
    generator = np.random.default_rng(seed)
    return [0.1 * generator.normal(size=move.shape) * (generator.random(move.shape) < 0.2) for move in nets.unmoved()]


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("hidden", [1, 2])
@pytest.mark.parametrize("biased", [True, False])
def test_the_size_is_that_of_changes_which_make_every_label_right(norm: Norm, hidden: int, biased: bool) -> None:
    nets = networks(norm, hidden, biased=biased)
    moves = some_moves(nets)
    size = nets.size(moves)
    values, changes = nets.values, []
    for depth, layer in enumerate(nets.layers[:-1]):
        changes.append(nets.reaching(moves, depth, values))
        values = np.maximum(layer.entering(values) @ (layer.weight + changes[-1]).T, 0)
        np.testing.assert_allclose(values, nets.plans(moves)[depth].wanted, atol=1e-6)
    last = ended(least_change(nets.margins(values), norm))
    changes.append(last.vector.reshape(nets.layers[-1].weight.shape))
    logits = output(nets, [layer.weight + change for layer, change in zip(nets.layers, changes, strict=True)])
    assert (logits.argmax(1) == nets.labels).all()
    every = np.concatenate([change.ravel() for change in changes])
    assert size == pytest.approx(np.linalg.norm(every, ORDER[norm]), rel=1e-4)
    assert all(change.any() for change in changes)


@pytest.mark.parametrize("norm", NORMS)
def test_bounds_and_the_limit_only_save_programs(norm: Norm) -> None:
    for seed in range(4):
        nets = networks(norm)
        moves = some_moves(nets, seed)
        plan = nets.plans(moves)[0]
        parts = [
            least_size(NeuronValues(plan.features, plan.present[:, j], plan.wanted[:, j]), norm) for j in plan.moved
        ]
        parts.append(least_size(nets.margins(plan.wanted), norm))
        expected = total(np.array(parts), norm)
        assert nets.size(moves) == pytest.approx(expected, rel=1e-9)
        used = nets.programs
        for share in (0.0, 0.5, 0.9999):
            assert networks(norm).size(moves, share * expected) == np.inf
        assert networks(norm).size(moves, 1.0001 * expected) == pytest.approx(expected, rel=1e-9)
        pruned = networks(norm)
        pruned.size(moves, 0.0)
        assert pruned.programs == 0 < used


def test_a_neuron_that_does_not_move_keeps_its_weights_and_is_not_solved_for_twice() -> None:
    nets = networks(hidden=2)
    moves = nets.unmoved()
    assert nets.size(moves) == least_size(nets.margins(nets.plans(moves)[-1].wanted), "linf")
    assert nets.programs == 1
    moves[0][1, 3] = 0.2  # what enters the second layer moves, its neurons do not
    nets.size(moves)
    assert nets.programs == 3
    nets.size(moves)
    assert nets.programs == 4  # that of the last layer again
    change = nets.reaching(moves, 0, nets.values)
    assert change[3].any() and not np.delete(change, 3, 0).any()
    assert not nets.reaching(moves, 1, nets.plans(moves)[0].wanted).any()


def test_values_do_not_fall_below_zero() -> None:
    nets = networks()
    moves = [np.full(move.shape, -100.0) for move in nets.unmoved()]
    assert not nets.plans(moves)[0].wanted.any()
