"""Both swarms, held against literal loops over particles and coordinates."""

from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import Tensor

from study.parts.search.evolution import Population
from study.parts.search.swarm import constricted_swarm, constriction, global_best_swarm

PEAK = torch.tensor([0.3, -0.7, 0.1], dtype=torch.float64)
WEIGHTS = {"inertia": 0.8, "cognitive": 0.51, "social": 0.31}
LOWER, UPPER = torch.full((3,), -2.0, dtype=torch.float64), torch.full((3,), 1.5, dtype=torch.float64)


def closeness(values: Tensor, floors: Tensor | None = None) -> Tensor:
    return -((values - PEAK) ** 2).sum(1).double()


def start(count: int = 12, seed: int = 3) -> Tensor:
    return torch.randn(count, 3, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).clamp(-2, 1.5)


def global_best(begin: Tensor, seed: int = 0, **settings: Any) -> Iterator[Population]:
    defaults = {"iterations": 60, "tolerance": None, "window": 10, "ceiling": 0.0, "velocity": begin.abs()}
    generator = torch.Generator().manual_seed(seed)
    return global_best_swarm(closeness, begin, LOWER, UPPER, generator=generator, **WEIGHTS, **(defaults | settings))


def constricted(begin: Tensor, seed: int = 0, **settings: Any) -> Iterator[Population]:
    defaults = {"iterations": 60, "phi": 4.1, "patience": 10, "ceiling": 0.0}
    defaults |= {"slowest": torch.full((3,), 0.01), "fastest": torch.full((3,), 0.5)}
    return constricted_swarm(closeness, begin, generator=torch.Generator().manual_seed(seed), **(defaults | settings))


SWARMS: list[Callable[..., Iterator[Population]]] = [global_best, constricted]
each_swarm = pytest.mark.parametrize("swarm", SWARMS)


def literal_global_best(positions: list[list[float]], velocity: list[list[float]], iterations: int) -> list[float]:
    """pyswarms' order, one particle and one coordinate after the other; the swarm's best fitness of each iteration."""
    generator = torch.Generator().manual_seed(0)
    count, genes = len(positions), len(positions[0])
    own, own_fitness = [list(each) for each in positions], [-float("inf")] * count
    leader, top, history = list(positions[0]), -float("inf"), []
    for _ in range(iterations):
        for p in range(count):
            fitness = float(closeness(torch.tensor([positions[p]], dtype=torch.float64)))
            if fitness > own_fitness[p]:
                own[p], own_fitness[p] = list(positions[p]), fitness
        if max(own_fitness) > top:
            top = max(own_fitness)
            leader = list(own[own_fitness.index(top)])
        history.append(top)
        first, second = (torch.rand(count, genes, generator=generator).tolist() for _ in range(2))
        for p in range(count):
            for d in range(genes):
                velocity[p][d] = (
                    0.8 * velocity[p][d]
                    + 0.51 * first[p][d] * (own[p][d] - positions[p][d])
                    + 0.31 * second[p][d] * (leader[d] - positions[p][d])
                )
                place = positions[p][d] + velocity[p][d]
                if place < -2:
                    place = 1.5 - (-2 - place) % 3.5
                elif place > 1.5:
                    place = -2 + (place - 1.5) % 3.5
                positions[p][d] = place
    return history


def literal_constricted(positions: list[list[float]], iterations: int) -> list[float]:
    """The toolkit's order, one particle and one coordinate after the other."""
    generator = torch.Generator().manual_seed(0)
    count, genes = len(positions), len(positions[0])
    velocity = [[0.0] * genes for _ in range(count)]
    score = [float(closeness(torch.tensor([each], dtype=torch.float64))) for each in positions]
    own, own_fitness = [list(each) for each in positions], list(score)
    history = [max(own_fitness)]
    for _ in range(iterations):
        leader = list(own[own_fitness.index(max(own_fitness))])
        first, second = ((4.1 * torch.rand(count, 1, generator=generator)).flatten().tolist() for _ in range(2))
        for p in range(count):
            for d in range(genes):
                positions[p][d] += velocity[p][d]
                pull = first[p] * (own[p][d] - positions[p][d]) + second[p] * (leader[d] - positions[p][d])
                speed = 0.729843788 * (velocity[p][d] + pull)
                size = min(max(abs(speed), 0.01), 0.5)
                velocity[p][d] = size if speed > 0 else -size
            fitness = float(closeness(torch.tensor([positions[p]], dtype=torch.float64)))
            if fitness > own_fitness[p]:
                own[p], own_fitness[p] = list(positions[p]), fitness
        history.append(max(own_fitness))
    return history


def test_the_global_best_swarm_is_pyswarms_loop() -> None:
    fast = 3 * torch.rand(12, 3, generator=torch.Generator().manual_seed(7), dtype=torch.float64)  # leaves the bounds
    ours = [float(p.fitness.max()) for p in global_best(start(), velocity=fast, iterations=25)]
    assert ours == pytest.approx(literal_global_best(start().tolist(), fast.tolist(), 25), abs=1e-6)
    assert len(set(ours)) > 5


def test_the_constricted_swarm_is_the_toolkits_loop() -> None:
    ours = [float(p.fitness.max()) for p in constricted(start(), iterations=12, patience=100)]
    assert ours == pytest.approx(literal_constricted(start().tolist(), 12), abs=1e-6)
    assert len(set(ours)) > 4


@each_swarm
def test_the_best_never_falls_and_nears_the_peak(swarm: Callable[..., Iterator[Population]]) -> None:
    history = [float(population.fitness.max()) for population in swarm(start(), iterations=150)]
    assert all(later >= earlier for earlier, later in pairwise(history))
    assert history[-1] > -2e-2 > history[0]


@each_swarm
def test_first_comes_the_start_and_the_fitness_is_that_of_the_vectors(
    swarm: Callable[..., Iterator[Population]],
) -> None:
    populations = list(swarm(start(), iterations=5))
    assert torch.equal(populations[0].vectors, start())
    for population in populations:
        torch.testing.assert_close(population.fitness, closeness(population.vectors))


@each_swarm
def test_the_seed_decides_the_search(swarm: Callable[..., Iterator[Population]]) -> None:
    first, again, other = (list(swarm(start(), seed=seed, iterations=6))[-1].vectors for seed in (1, 1, 2))
    assert torch.equal(first, again) and not torch.equal(first, other)


@each_swarm
def test_the_ceiling_ends_it(swarm: Callable[..., Iterator[Population]]) -> None:
    assert len(list(swarm(start(), ceiling=-1e9))) == 1


def test_iterations_count_the_scoring_of_the_start_in_pyswarms_order_alone() -> None:
    assert len(list(global_best(start(), iterations=4))) == 4
    assert len(list(constricted(start(), iterations=4))) == 5
    assert list(global_best(start(), iterations=0)) == []


def test_positions_stay_in_the_bounds() -> None:
    seen: list[Tensor] = []

    def watched(values: Tensor, floors: Tensor | None) -> Tensor:
        seen.append(values)
        return closeness(values)

    settings: dict[str, Any] = {"tolerance": None, "window": 10, "ceiling": 0.0, "iterations": 20}
    settings |= {"velocity": torch.full((12, 3), 2.9), "generator": torch.Generator().manual_seed(0)}
    list(global_best_swarm(watched, start(), LOWER, UPPER, **WEIGHTS, **settings))
    vectors = torch.cat(seen)
    assert bool(((vectors >= LOWER) & (vectors <= UPPER)).all())


def test_no_particle_comes_to_rest_or_runs_away() -> None:
    seen: list[Tensor] = []

    def watched(values: Tensor, floors: Tensor | None) -> Tensor:
        seen.append(values)
        return closeness(values)

    settings: dict[str, Any] = {"slowest": torch.tensor(0.05), "fastest": torch.tensor(0.3), "iterations": 15}
    settings |= {"phi": 4.1, "patience": 100, "ceiling": 0.0, "generator": torch.Generator().manual_seed(0)}
    list(constricted_swarm(watched, start(), **settings))
    steps = torch.stack([later - earlier for earlier, later in pairwise(seen)][1:]).abs()
    assert not (seen[1] - seen[0]).any()  # the swarm starts at rest
    assert float(steps.min()) >= 0.05 - 1e-6 and float(steps.max()) <= 0.3 + 1e-6


def flat(values: Tensor, floors: Tensor | None = None) -> Tensor:
    return torch.zeros(len(values), dtype=torch.float64)


def test_a_search_without_gain_ends() -> None:
    generator = torch.Generator().manual_seed(0)
    settings: dict[str, Any] = {"iterations": 50, "ceiling": 1.0, "generator": generator}
    speeds = {"slowest": torch.tensor(0.1), "fastest": torch.tensor(1.0)}
    found = list(constricted_swarm(flat, start(), phi=4.1, patience=10, **speeds, **settings))
    assert torch.equal(found[-1].vectors, start())  # a position that is only as good replaces nothing
    assert len(found) == 1 + 12  # iterations 0 to 11: the twelfth is the first that may end it
    still = {"tolerance": 1e-3, "window": 10, "velocity": torch.ones(12, 3)}
    found = list(global_best_swarm(flat, start(), LOWER, UPPER, **WEIGHTS, **still, **settings))
    assert len(found) == 11  # the gain from nothing to the first best is none of the last ten


def test_a_fitness_that_is_no_number_never_leads() -> None:
    def broken(values: Tensor, floors: Tensor | None) -> Tensor:
        return closeness(values).where(values[:, 0] < 0, torch.nan)

    settings: dict[str, Any] = {"iterations": 5, "phi": 4.1, "patience": 10, "ceiling": 0.0}
    settings |= {"slowest": torch.tensor(0.01), "fastest": torch.tensor(0.1)}
    for population in constricted_swarm(broken, start(), generator=torch.Generator().manual_seed(0), **settings):
        assert population.best[0] < 0 and bool(population.fitness.max().isfinite())


def test_the_constriction_factor() -> None:
    assert constriction(4.1) == pytest.approx(0.7298, abs=1e-4)
