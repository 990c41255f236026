"""A part of a split of a given size, in random order."""

from __future__ import annotations

import torch
from torch import Tensor

from study.data.split import Split


def random_subset(split: Split, count: int, generator: torch.Generator, *, within: Tensor | None = None) -> Split:
    """At most `count` items of a split (of those at `within` [M]), in random order: without repetition."""
    places = torch.arange(len(split)) if within is None else within
    drawn = torch.randperm(len(places), generator=generator)[:count]
    return split.subset(places[drawn.to(places.device)])
