"""Particle swarms on a fitness that scores the whole swarm in one call.

Two orders of the same idea: that of pyswarms, which CARE's authors use, and that of the eAI Repair Toolkit, the home of
NeuRecover and DistrRep. Each yields the particles' best positions so far, so that the best of them never gets worse.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterator

import torch
from torch import Tensor

from study.parts.search.evolution import Fitness, Population


def global_best_swarm(
    fitness: Fitness,
    start: Tensor,
    lower: Tensor,
    upper: Tensor,
    *,
    velocity: Tensor,
    iterations: int,
    inertia: float,
    cognitive: float,
    social: float,
    tolerance: float | None,
    window: int,
    ceiling: float,
    generator: torch.Generator,
) -> Iterator[Population]:
    """The global-best swarm of pyswarms 1.3; the first of its iterations scores `start`.

    start, velocity: [P, D]; lower, upper: [D], a position that leaves them comes back in from the other side;
    iterations: how often the swarm is scored; inertia, cognitive, social: weights of the old velocity and of the pulls
    towards the particle's own best and the swarm's; tolerance: a gain of the best below tolerance * (1 + |best|) in
    each of the last `window` iterations ends the search (None: never); ceiling: the largest possible fitness, which
    ends it.
    """
    positions, best = start, _unscored(start)
    leader, top = start[0], best.fitness.max()
    still: deque[Tensor] = deque(maxlen=window)
    for iteration in range(iterations):
        best = _improved(best, positions, fitness)
        old = top
        if best.fitness.max() > top:
            leader, top = best.best, best.fitness.max()
        yield best
        if top >= ceiling:
            return
        if tolerance is not None:
            still.append((top - old).abs() < tolerance * (1 + old.abs()))
            if iteration >= window and all(still):
                return
        own, common = (torch.rand(start.shape, generator=generator).to(start) for _ in range(2))
        velocity = (
            inertia * velocity + cognitive * own * (best.vectors - positions) + social * common * (leader - positions)
        )
        positions = _wrapped(positions + velocity, lower, upper)


def constricted_swarm(
    fitness: Fitness,
    start: Tensor,
    *,
    slowest: Tensor,
    fastest: Tensor,
    iterations: int,
    phi: float,
    patience: int,
    ceiling: float,
    generator: torch.Generator,
) -> Iterator[Population]:
    """The swarm of the eAI Repair Toolkit: `start` at rest, then `iterations` moves, with constricted velocities.

    start: [P, D]; slowest, fastest: [D] (or one number), bounds of a velocity's size, so that with a positive `slowest`
    no particle comes to rest; phi: above 4, bounds the two random pulls (one number each per particle) and determines
    the constriction; patience: the search ends when its best is no better than that many iterations before (not before
    iteration patience + 2); ceiling: the largest possible fitness, which ends it.
    """
    shrink = constriction(phi)
    positions, velocity = start, torch.zeros_like(start)
    best = _improved(_unscored(start), start, fitness)
    yield best
    tops: list[Tensor] = []
    for iteration in range(iterations):
        if best.fitness.max() >= ceiling or (iteration > patience + 1 and tops[-1] <= tops[-1 - patience]):
            return
        positions = positions + velocity
        own, common = (phi * torch.rand(len(start), 1, generator=generator).to(start) for _ in range(2))
        pulled = shrink * (velocity + own * (best.vectors - positions) + common * (best.best - positions))
        velocity = _limited(pulled, slowest, fastest)
        best = _improved(best, positions, fitness)
        tops.append(best.fitness.max())
        yield best


def constriction(phi: float) -> float:
    """Clerc's constriction factor of a swarm, for phi above 4 (0.7298 for 4.1)."""
    return 2 / (phi - 2 + math.sqrt(phi * phi - 4 * phi))


def _unscored(start: Tensor) -> Population:
    return Population(start, torch.full((len(start),), -math.inf, dtype=torch.float64, device=start.device))


def _improved(best: Population, positions: Tensor, fitness: Fitness) -> Population:
    """The best positions so far, after another look; a position that is only as good replaces nothing."""
    scores = fitness(positions, best.fitness)
    return best.replaced(scores > best.fitness, positions, scores)


def _limited(velocity: Tensor, slowest: Tensor, fastest: Tensor) -> Tensor:
    """Velocities with sizes within the bounds and their signs kept; 0 counts as negative."""
    size = torch.minimum(torch.maximum(velocity.abs(), slowest), fastest)
    return torch.where(velocity > 0, size, -size)


def _wrapped(positions: Tensor, lower: Tensor, upper: Tensor) -> Tensor:
    """Positions that left the bounds, come in again from the other side."""
    width = upper - lower
    positions = torch.where(positions < lower, upper - (lower - positions) % width, positions)
    return torch.where(positions > upper, lower + (positions - upper) % width, positions)
