import numpy as np
import pytest

from study.parts.search.separation_moves import FINEST, HEURISTICS, Found, Heuristic, Space, greedy, searched
from study.parts.solvers.demands import ended
from tests.parts.solvers.test_sub_networks import networks


def search(heuristic: Heuristic, budget: int = 60, seconds: float | None = None, hidden: int = 1) -> Found:
    nets = networks(hidden=hidden)
    start = nets.size(nets.unmoved())
    return ended(searched(nets, heuristic, start, budget, np.random.default_rng(0), seconds))


@pytest.mark.parametrize("heuristic", HEURISTICS)
@pytest.mark.parametrize("hidden", [1, 2])
def test_what_is_found_is_no_larger_than_without_moves_and_has_the_size_that_is_told(
    heuristic: Heuristic, hidden: int
) -> None:
    found, nets = search(heuristic, hidden=hidden), networks(hidden=hidden)
    assert found.sizes == sorted(found.sizes, reverse=True)
    assert found.sizes[0] == nets.size(nets.unmoved())
    assert found.sizes[-1] == pytest.approx(nets.size(found.moves), rel=1e-9)
    assert found.evaluations == 60
    again = search(heuristic, hidden=hidden)
    assert all(np.array_equal(one, other) for one, other in zip(found.moves, again.moves, strict=True))


def test_the_guided_searches_find_smaller_changes_than_noise_does() -> None:
    sizes = {heuristic: search(heuristic, 300).sizes[-1] for heuristic in HEURISTICS}
    assert sizes["greedy"] < sizes["random"] < 1.01 * search("random", 0).sizes[-1]
    assert sizes["greedy"] < 0.9 * search("greedy", 0).sizes[-1]
    assert sizes["mcts"] < sizes["random"] and sizes["realisable"] < sizes["random"]


def test_no_budget_or_no_time_leaves_the_values_alone() -> None:
    for found in (search("greedy", 0), search("greedy", 50, seconds=0.0)):
        assert not any(move.any() for move in found.moves)
        assert found.evaluations == 0 and len(set(found.sizes)) == 1


def test_gains_are_the_derivatives_of_a_points_lead() -> None:
    nets = networks(hidden=2)
    space = Space(nets, np.random.default_rng(0))
    for depth in range(2):
        for point in range(4):

            def lead(shift: float, neuron: int, depth: int = depth, point: int = point) -> float:
                values = nets.plans(nets.unmoved())[depth].wanted[[point]]
                values[0, neuron] += shift
                for number in range(depth + 1, 2):
                    values = np.maximum(nets.layers[number].entering(values) @ nets.layers[number].weight.T, 0)
                logits = (nets.layers[-1].entering(values) @ nets.layers[-1].weight.T)[0]
                return float(logits[nets.labels[point]] - logits[space.rivals[point]])

            expected = [(lead(1e-6, neuron) - lead(-1e-6, neuron)) / 2e-6 for neuron in range(8)]
            np.testing.assert_allclose(space.gains(depth, point), expected, atol=1e-5)


def test_a_draw_moves_the_most_helpful_active_neurons_towards_the_label() -> None:
    space = Space(networks(), np.random.default_rng(0))
    for _ in range(20):
        drawn = space.draw(1.0)
        gains, active = space.gains(drawn.depth, drawn.point), space.plans[drawn.depth].wanted[drawn.point] > 0
        assert active[drawn.neurons].all()
        left = np.setdiff1d(np.flatnonzero(active), drawn.neurons)
        assert abs(gains[left]).max(initial=0) <= abs(gains[drawn.neurons]).min()
        assert (np.sign(drawn.steps) == np.sign(gains[drawn.neurons])).all()


def test_steps_become_finer_and_the_search_ends() -> None:
    nets = networks()
    start = nets.size(nets.unmoved())
    proposals = greedy(Space(nets, np.random.default_rng(0)), start)
    largest = [abs(next(proposals)[0]).max()]
    with pytest.raises(StopIteration):
        while True:
            largest.append(abs(proposals.send(np.inf)[0]).max())
    assert max(largest[:50]) > 20 * max(largest[-50:]) > 0
    assert len(largest) == 50 * (1 - int(np.log2(FINEST)))
