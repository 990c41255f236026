"""The seeded sample that a costly metric measures in place of the whole split."""

import torch
from torch import Tensor


def draw_sample(candidates: Tensor, size: int, generator: torch.Generator) -> Tensor:
    """Up to `size` of the candidates, without repetition, in random order.

    Args:
        candidates: [K] long, indices.
        size: how many to draw at most.
        generator: on the CPU.

    Returns:
        [min(K, size)] long, on the device of the candidates.

    >>> draw_sample(torch.tensor([3, 5]), 9, torch.Generator().manual_seed(0)).sort().values
    tensor([3, 5])
    """
    order = torch.randperm(len(candidates), generator=generator)[:size]
    return candidates[order.to(candidates.device)]
