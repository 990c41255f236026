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
