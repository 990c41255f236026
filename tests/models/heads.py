"""A dense head of three inputs, small enough for every closed form to be written out."""

import torch
from torch import Tensor, nn

DIMENSIONS = 3
HEAD = [str(place) for place in range(7)]
"""Names of the modules of `network`."""
LOWER, UPPER = torch.full((DIMENSIONS,), -2.0).double(), torch.full((DIMENSIONS,), 3.0).double()


def network(activation: nn.Module, batch_norm: bool = False, seed: int = 0) -> nn.Sequential:
    """A head 3-7-5-4 in float64, with statistics of BatchNorm that are not trivial."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        norm = nn.BatchNorm1d(7) if batch_norm else nn.Identity()
        layers = nn.Sequential(
            nn.Linear(3, 7), norm, activation, nn.Dropout(0.5), nn.Linear(7, 5), activation, nn.Linear(5, 4)
        ).double()
        if batch_norm:
            layers.train()(2 * torch.randn(50, 3).double() + 1)
    return layers.eval()


def points(count: int, seed: int = 1) -> Tensor:
    draws = torch.rand(count, DIMENSIONS, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return LOWER + (UPPER - LOWER) * draws
