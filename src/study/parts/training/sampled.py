"""Batches of a share of the training set that is drawn anew at each pass."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from study.data.split import Batch, Batches, Split


class Sampled(Batches):
    """Batches, newly shuffled at each pass, of a share of a split's first items and of all of the others.

    Args:
        split: training items, and behind them what was added to these.
        size: items per batch.
        generator: on the CPU, for the order of each pass and thereby the share.
        train: how many of the first items are training items.
        fraction: share of them in a pass, in (0, 1]; at least one item.
    """

    def __init__(self, split: Split, size: int, generator: torch.Generator, train: int, fraction: float) -> None:
        super().__init__(split, size, generator, drop_last=False, within=None)
        self.train = train
        self.taken = max(1, round(fraction * train))

    @property
    def count(self) -> int:
        return len(self.split) - self.train + self.taken

    def __iter__(self) -> Iterator[Batch]:
        order = torch.randperm(len(self.split), generator=self.generator)
        is_train = order < self.train
        order = order[~is_train | (is_train.cumsum(0) <= self.taken)]
        for indices in self.cut(order):
            yield self.split.fetch(indices)
