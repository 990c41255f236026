from itertools import pairwise, permutations

import torch
from torch import Tensor

from study.parts.search.evolution import Population, differential_evolution

PEAK = torch.tensor([0.3, -0.7, 0.1])


def closeness(values: Tensor, floors: Tensor | None = None) -> Tensor:
    return -((values - PEAK) ** 2).sum(1).double()


def search(seed: int = 0, generations: int = 40, patience: int = 10, ceiling: float = 0.0) -> list[Population]:
    generator = torch.Generator().manual_seed(seed)
    start = torch.randn(20, 3, generator=generator).clamp(-1, 1)
    bound = torch.ones(3)
    found = differential_evolution(
        closeness,
        start,
        -bound,
        bound,
        generations=generations,
        mutation=(0.5, 1.0),
        crossover=0.7,
        patience=patience,
        ceiling=ceiling,
        generator=generator,
    )
    return list(found)


def test_the_best_fitness_never_falls_and_reaches_the_peak() -> None:
    history = [population.fitness.max() for population in search(generations=100)]
    assert all(later >= earlier for earlier, later in pairwise(history))
    assert history[-1] > -1e-3 > history[0]


def test_fitness_is_that_of_the_vectors() -> None:
    for population in search(generations=5):
        torch.testing.assert_close(population.fitness, closeness(population.vectors))
        assert torch.equal(population.best, population.vectors[population.fitness.argmax()])


def test_genes_stay_within_their_bounds() -> None:
    vectors = torch.stack([population.vectors for population in search()])
    assert vectors.min() >= -1 and vectors.max() <= 1


def test_every_trial_takes_its_mutants_within_the_bounds() -> None:
    trials: list[Tensor] = []

    def watched(values: Tensor, floors: Tensor | None) -> Tensor:
        trials.append(values)
        return values.sum(1).double()

    start = torch.full((6, 2), 5.0) + torch.arange(12).view(6, 2)
    low, high = torch.tensor([-1.0, -2.0]), torch.tensor([1.0, 2.0])
    generator = torch.Generator().manual_seed(0)
    settings = {"generations": 1, "mutation": (0.5, 1.0), "crossover": 0.0, "patience": 10, "ceiling": 1e9}
    list(differential_evolution(watched, start, low, high, **settings, generator=generator))
    inherited = trials[1] == start
    assert inherited.sum(1).tolist() == [1] * 6  # crossover 0: only the forced gene is a mutant
    assert bool((inherited | (trials[1] == high)).all())  # all mutants of this start lie above


def test_a_mutant_is_made_of_three_other_individuals() -> None:
    trials: list[Tensor] = []

    def watched(values: Tensor, floors: Tensor | None) -> Tensor:
        trials.append(values)
        return closeness(values)

    generator = torch.Generator().manual_seed(0)
    start, bound = torch.randn(6, 3, generator=generator), torch.full((3,), 100.0)
    settings = {"generations": 1, "mutation": (0.7, 0.7), "crossover": 1.0, "patience": 10, "ceiling": 0.0}
    list(differential_evolution(watched, start, -bound, bound, **settings, generator=generator))
    for number, trial in enumerate(trials[1]):
        others = permutations([other for other in range(6) if other != number], 3)
        mutants = torch.stack([start[a] + 0.7 * (start[b] - start[c]) for a, b, c in others])
        assert (mutants - trial).abs().amax(1).min() < 1e-5


def test_the_seed_decides_the_search() -> None:
    assert torch.equal(search(3)[-1].vectors, search(3)[-1].vectors)
    assert not torch.equal(search(3)[-1].vectors, search(4)[-1].vectors)


def test_it_stops_after_the_generations_at_the_ceiling_and_when_nothing_changes() -> None:
    assert len(search(generations=7, ceiling=1.0)) == 8
    assert len(search(ceiling=-1e9)) == 1

    def flat(values: Tensor, floors: Tensor | None) -> Tensor:
        return torch.zeros(len(values), dtype=torch.float64)

    bound = torch.ones(2)
    settings = {"generations": 50, "mutation": (0.5, 1.0), "crossover": 0.7, "patience": 10, "ceiling": 1.0}
    generator = torch.Generator().manual_seed(0)
    found = list(differential_evolution(flat, torch.rand(5, 2), -bound, bound, **settings, generator=generator))
    assert len(found) == 1 + 11  # the eleventh unchanged generation is the last


def test_ties_are_accepted_and_floors_are_the_parents_fitness() -> None:
    seen: list[Tensor | None] = []

    def flat(values: Tensor, floors: Tensor | None) -> Tensor:
        seen.append(floors)
        return torch.ones(len(values), dtype=torch.float64)

    start, bound = torch.rand(5, 2, generator=torch.Generator().manual_seed(1)), torch.ones(2)
    settings = {"generations": 1, "mutation": (0.5, 1.0), "crossover": 1.0, "patience": 10, "ceiling": 9.0}
    generator = torch.Generator().manual_seed(0)
    first, second = differential_evolution(flat, start, -bound, bound, **settings, generator=generator)
    assert seen[0] is None and torch.equal(seen[1], first.fitness)
    assert not (first.vectors == second.vectors).all(1).any()
