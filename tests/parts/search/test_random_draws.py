from itertools import pairwise

import torch
from torch import Tensor

from study.parts.search.random_draws import random_draws


def test_it_spends_as_many_evaluations_as_a_search_and_keeps_the_better_of_each_slot() -> None:
    generator = torch.Generator().manual_seed(0)
    drawn: list[Tensor] = []

    def draw() -> Tensor:
        drawn.append(torch.randn(6, 2, generator=generator))
        return drawn[-1]

    def fitness(values: Tensor, floors: Tensor | None) -> Tensor:
        return -values.abs().sum(1).double()

    found = list(random_draws(fitness, draw, rounds=9, ceiling=0.0))
    assert len(found) == len(drawn) == 10
    everything = torch.stack([fitness(vectors, None) for vectors in drawn])
    for number, population in enumerate(found):
        assert torch.equal(population.fitness, everything[: number + 1].amax(0))
        assert torch.equal(fitness(population.vectors, None), population.fitness)
    assert all(later.fitness.max() >= earlier.fitness.max() for earlier, later in pairwise(found))
    assert len(list(random_draws(fitness, draw, rounds=9, ceiling=-1e9))) == 1
