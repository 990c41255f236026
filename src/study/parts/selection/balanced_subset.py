"""As many items of each class, at random."""

from __future__ import annotations

import torch
from torch import Tensor

from study.problem.recipe import Auto


def balanced_subset(labels: Tensor, per_class: int | Auto, generator: torch.Generator) -> Tensor:
    """Indices [M] of items drawn without replacement, as many of each class; classes one after the other.

    Args:
        labels: [N], on the CPU.
        per_class: items of each class (all of a smaller class); auto: a fifth of the class, from 1 to 1,000.
        generator: on the CPU.
    """
    shuffled = torch.randperm(len(labels), generator=generator)
    chosen = []
    for label in labels.unique():
        members = shuffled[labels[shuffled] == label]
        count = min(1000, max(1, len(members) // 5)) if per_class == "auto" else per_class
        chosen.append(members[:count])
    return torch.cat(chosen)
