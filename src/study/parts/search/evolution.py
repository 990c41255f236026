"""Differential evolution on a fitness that scores a whole population in one call."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

Fitness = Callable[[Tensor, Tensor | None], Tensor]
"""From vectors [P, D] and floors [P] (or None) to their fitness [P] float64, to be maximised.

Of a vector whose fitness lies below its floor, any value below the floor may be returned."""


@dataclass(frozen=True)
class Population:
    """vectors: [P, D]; fitness: [P] float64."""

    vectors: Tensor
    fitness: Tensor

    @property
    def best(self) -> Tensor:
        """The fittest vector [D]; of equals the first."""
        return self.vectors[self.fitness.argmax()]

    def replaced(self, better: Tensor, vectors: Tensor, fitness: Tensor) -> Population:
        """The population with other vectors [P, D], of that fitness [P], in the slots that are `better` [P] bool."""
        return Population(
            torch.where(better[:, None], vectors, self.vectors), torch.where(better, fitness, self.fitness)
        )


def differential_evolution(
    fitness: Fitness,
    start: Tensor,
    lower: Tensor,
    upper: Tensor,
    *,
    generations: int,
    mutation: tuple[float, float],
    crossover: float,
    patience: int,
    ceiling: float,
    generator: torch.Generator,
) -> Iterator[Population]:
    """DE/rand/1/bin with synchronous replacement; yields `start` scored, then the population after each generation.

    start: [P, D], P >= 4; lower, upper: [D], bounds of mutated genes; mutation: range of the factor F, drawn once per
    generation; crossover: rate of mutated genes, one is forced; patience: generations for which the best may stay
    unchanged (as float32); ceiling: the largest possible fitness, which ends the search.
    """
    population = Population(start, fitness(start, None))
    best, stale = population.fitness.max(), 0
    yield population
    for _ in range(generations):
        if best >= ceiling or stale > patience:
            return
        trials = _trials(population.vectors, lower, upper, mutation, crossover, generator)
        scores = fitness(trials, population.fitness)
        population = population.replaced(scores >= population.fitness, trials, scores)
        stale = stale + 1 if population.fitness.max().float() == best.float() else 0
        best = population.fitness.max()
        yield population


def _trials(
    vectors: Tensor,
    lower: Tensor,
    upper: Tensor,
    mutation: tuple[float, float],
    crossover: float,
    generator: torch.Generator,
) -> Tensor:
    """A trial vector for each individual, [P, D]."""
    count, genes = vectors.shape
    low, high = mutation
    factor = low + (high - low) * torch.rand((), generator=generator)
    a, b, c = (vectors[chosen] for chosen in _three_others(count, generator).to(vectors.device))
    mutants = (a + factor.to(vectors) * (b - c)).clamp(lower, upper)
    crossed = torch.rand(count, genes, generator=generator) < crossover
    crossed[torch.arange(count), torch.randint(genes, (count,), generator=generator)] = True
    return torch.where(crossed.to(vectors.device), mutants, vectors)


def _three_others(count: int, generator: torch.Generator) -> Tensor:
    """For each of `count` individuals three distinct others, [3, count] int64."""
    others = torch.rand(count, count - 1, generator=generator).argsort(1)[:, :3]
    return (others + (others >= torch.arange(count)[:, None])).T
