"""The Pareto front of two objectives."""

from __future__ import annotations

import torch
from torch import Tensor


def pareto_front(first: Tensor, second: Tensor) -> Tensor:
    """Indices of the points ([N] each, both maximised) that no other dominates, by `first` descending.

    Of points that are equal in both, the one with the smallest index is kept.
    """
    order = second.argsort(descending=True, stable=True)
    order = order[first[order].argsort(descending=True, stable=True)]
    candidates = second[order]
    best_before = candidates.cummax(0).values.roll(1)
    best_before[:1] = -torch.inf
    return order[candidates > best_before]
