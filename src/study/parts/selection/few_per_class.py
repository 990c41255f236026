"""A few items of each class, at random."""

import torch
from torch import Tensor


def few_per_class(labels: Tensor, limit: int, generator: torch.Generator) -> Tensor:
    """Indices, ascending, on the CPU, of at most `limit` random items of each class; of all items if it is 0.

    Args:
        labels: [N].
        limit: items per class, at least 0.
        generator: on the CPU.
    """
    if not limit:
        return torch.arange(len(labels))
    order = torch.randperm(len(labels), generator=generator)
    shuffled = labels.cpu()[order]
    few = [order[shuffled == label][:limit] for label in shuffled.unique()]
    return torch.cat(few).sort().values
