"""Statistics of the parameters that single entries belong to."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from study.parts.network.places import Entries


class Statistics(NamedTuple):
    """Of the parameter that each of D entries belongs to, [D] each; `std` is the population standard deviation."""

    mean: Tensor
    std: Tensor
    low: Tensor
    high: Tensor


def parameter_statistics(model: nn.Module, places: Entries) -> Statistics:
    """Mean, standard deviation, least and largest value of the parameter of each place."""
    rows = []
    for name in places.names:
        values = model.get_parameter(name).detach()
        rows.append(torch.stack([values.mean(), values.std(unbiased=False), values.min(), values.max()]))
    return Statistics(*torch.stack(rows)[places.owner].T)


def normal_values(model: nn.Module, places: Entries, count: int, generator: torch.Generator) -> Tensor:
    """`count` random vectors [count, D] of new values, each value normal as the parameter of its place is."""
    mean, std, _, _ = parameter_statistics(model, places)
    noise = torch.randn(count, len(places), generator=generator)
    return mean + std * noise.to(mean)


def doubled_range(model: nn.Module, places: Entries) -> tuple[Tensor, Tensor]:
    """Lower and upper bound [D] of new values: the range of the parameter of each place, twice as far from zero."""
    _, _, low, high = parameter_statistics(model, places)
    return low * torch.where(low < 0, 2.0, 0.5), high * torch.where(high > 0, 2.0, 0.5)
