"""Items taken in turn from one class after the other."""

from __future__ import annotations

import torch
from torch import Tensor


def round_robin(labels: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """Indices, on the CPU, of at most `count` random items, one of each class, then a second one of each, and so on.

    The first n of them are those of a smaller count n from the same state of the generator.

    Args:
        labels: [N].
        generator: on the CPU.
    """
    order = torch.randperm(len(labels), generator=generator)
    order = order[labels.cpu()[order].argsort(stable=True)]
    classes, sizes = labels.cpu()[order].unique_consecutive(return_counts=True)
    turn = torch.cat([torch.arange(size) for size in sizes.tolist()]) if len(classes) else order
    return order[turn.argsort(stable=True)][:count]
