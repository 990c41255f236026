"""The control of every search: as many evaluations, spent on random draws."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from torch import Tensor

from study.parts.search.evolution import Fitness, Population


def random_draws(fitness: Fitness, draw: Callable[[], Tensor], *, rounds: int, ceiling: float) -> Iterator[Population]:
    """Yields a first draw, scored, and after each of `rounds` more the better vector of each slot.

    draw: gives new vectors [P, D]; ceiling: the largest possible fitness, which ends the search.
    """
    vectors = draw()
    population = Population(vectors, fitness(vectors, None))
    yield population
    for _ in range(rounds):
        if population.fitness.max() >= ceiling:
            return
        vectors = draw()
        scores = fitness(vectors, population.fitness)
        population = population.replaced(scores > population.fitness, vectors, scores)
        yield population
