from __future__ import annotations

import dataclasses
from itertools import pairwise

import torch
from torch import Tensor

from study.parts.network.places import Entries
from study.parts.network.statistics import parameter_statistics
from study.parts.search.repair_swarm import RepairSwarm
from tests.problems import digits_problem

SWARM = RepairSwarm(particles=40, iterations=6, patience=100, phi=4.1, speed=(0.2, 0.6))
PLACES = Entries(("net.layers.1.weight", "net.layers.5.weight"), torch.tensor([0, 0, 1]), torch.tensor([3, 70, 9]))


class Watched:
    """A fitness that remembers what it scored: the nearer to 0, the better."""

    ceiling, device = 1.0, torch.device("cpu")

    def __init__(self) -> None:
        self.seen: list[Tensor] = []

    def __call__(self, values: Tensor, floors: Tensor | None = None) -> Tensor:
        self.seen.append(values)
        return -values.square().sum(1).double()

    def steps(self) -> Tensor:
        """Sizes of all moves of the particles, [M, D]; the first leaves the swarm at rest."""
        return torch.cat([(later - earlier).abs() for earlier, later in pairwise(self.seen[1:])])


def test_velocities_are_measured_in_the_range_of_each_weights_parameter() -> None:
    model, fitness = digits_problem().copy(), Watched()
    model.get_parameter("net.layers.5.weight").data *= 3
    mean, std, low, high = parameter_statistics(model, PLACES)
    rounds = list(SWARM.over_weights(model, PLACES, fitness, torch.Generator().manual_seed(0)))
    assert len(rounds) == len(fitness.seen) == 7
    torch.testing.assert_close(fitness.steps().amin(0), 0.2 * (high - low), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(fitness.steps().amax(0), 0.6 * (high - low), rtol=1e-4, atol=1e-5)
    noise = torch.randn(40, 3, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(fitness.seen[0], mean + std * noise)


def test_coefficients_start_where_they_should_and_their_unit_is_1() -> None:
    fitness = Watched()
    list(SWARM.over_coefficients(3, 0.5, 0.125, fitness, torch.Generator().manual_seed(0)))
    torch.testing.assert_close(
        fitness.seen[0], 0.5 + 0.125 * torch.randn(40, 3, generator=torch.Generator().manual_seed(0))
    )
    torch.testing.assert_close(fitness.steps().amin(0), torch.full((3,), 0.2), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(fitness.steps().amax(0), torch.full((3,), 0.6), rtol=1e-4, atol=1e-5)


def test_the_control_draws_first_positions_again_and_again() -> None:
    fitness, draws = Watched(), torch.Generator().manual_seed(0)
    control = dataclasses.replace(SWARM, kind="random")
    list(control.over_coefficients(3, 0.5, 0.125, fitness, torch.Generator().manual_seed(0)))
    assert len(fitness.seen) == 7
    for values in fitness.seen:
        torch.testing.assert_close(values, 0.5 + 0.125 * torch.randn(40, 3, generator=draws))
