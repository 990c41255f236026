"""The search of the eAI Repair Toolkit's methods: a constricted swarm or, as its control, as many random draws."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Literal, Protocol

import torch
from pydantic import Field
from torch import Tensor, nn

from study.parts.network.places import Entries
from study.parts.network.statistics import normal_values, parameter_statistics
from study.parts.search.evolution import Population
from study.parts.search.random_draws import random_draws
from study.parts.search.swarm import constricted_swarm

Speed = tuple[Annotated[float, Field(ge=0)], Annotated[float, Field(gt=0)]]


class Bounded(Protocol):
    """A fitness (see `evolution.Fitness`) that knows the largest value it can have, and where it works."""

    ceiling: float

    @property
    def device(self) -> torch.device: ...

    def __call__(self, values: Tensor, floors: Tensor | None = None) -> Tensor: ...


@dataclass(frozen=True)
class RepairSwarm:
    """How to search.

    particles: P, vectors evaluated in each round; iterations: rounds at most, after the first; patience, phi: see
    `constricted_swarm`; speed: bounds of a velocity's size, in units of what is searched; kind: a swarm or, as a
    control, as many draws of first positions.
    """

    particles: int
    iterations: int
    patience: int
    phi: float
    speed: Speed
    kind: Literal["swarm", "random"] = "swarm"

    def over_weights(
        self, model: nn.Module, places: Entries, fitness: Bounded, generator: torch.Generator
    ) -> Iterator[Population]:
        """New values of weights: first normal as the parameter of each is; the unit is that parameter's range."""
        draw = partial(normal_values, model, places, self.particles, generator)
        _, _, low, high = parameter_statistics(model, places)
        return self._over(fitness, draw, high - low, generator)

    def over_coefficients(
        self, length: int, mean: float, std: float, fitness: Bounded, generator: torch.Generator
    ) -> Iterator[Population]:
        """`length` coefficients: first normal with this mean and standard deviation; the unit is 1."""

        def draw() -> Tensor:
            return mean + std * torch.randn(self.particles, length, generator=generator).to(fitness.device)

        return self._over(fitness, draw, torch.ones(length, device=fitness.device), generator)

    def _over(
        self, fitness: Bounded, draw: Callable[[], Tensor], unit: Tensor, generator: torch.Generator
    ) -> Iterator[Population]:
        """From the first positions that `draw` gives, [P, D]; unit: [D]."""
        if self.kind == "random":
            return random_draws(fitness, draw, rounds=self.iterations, ceiling=fitness.ceiling)
        slowest, fastest = self.speed
        return constricted_swarm(
            fitness,
            draw(),
            slowest=slowest * unit,
            fastest=fastest * unit,
            iterations=self.iterations,
            phi=self.phi,
            patience=self.patience,
            ceiling=fitness.ceiling,
            generator=generator,
        )
