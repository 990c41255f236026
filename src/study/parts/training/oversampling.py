"""Batches of a split with some items drawn more often than others."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from study.data.split import Batch, Batches, Split


class Oversampled(Batches):
    """Batches of a split, restartable; each is followed by `extra` items drawn with replacement from some of its items.

    A pass goes over the split in a new random order or, with weights, makes as many draws with replacement.

    Args:
        split: what to draw from, N items.
        size: items per batch without the extra ones.
        generator: on the CPU, for the order of the pass; without weights it is used as `Split.batches` uses it.
        weights: [N], to which the probability of an item is proportional; None: every item once.
        extra: number of items appended to each batch; none where `extra_indices` is empty.
        extra_indices: [F] int64, the items of the split from which they are drawn.
        extra_generator: on the CPU, for the appended items.
    """

    def __init__(
        self,
        split: Split,
        size: int,
        generator: torch.Generator,
        *,
        weights: Tensor | None,
        extra: int,
        extra_indices: Tensor,
        extra_generator: torch.Generator,
    ) -> None:
        super().__init__(split, size, generator, drop_last=False, within=None)
        self.weights = None if weights is None else weights.cpu()
        self.extra = extra if len(extra_indices) else 0
        self.extra_indices = extra_indices.cpu()
        self.extra_generator = extra_generator
        self.joins_last = not self.extra  # with extra items no batch holds a single one

    def __iter__(self) -> Iterator[Batch]:
        if self.weights is None:
            order = torch.randperm(self.count, generator=self.generator)
        else:
            order = torch.multinomial(self.weights, self.count, replacement=True, generator=self.generator)
        for indices in self.cut(order):
            yield self.split.fetch(torch.cat([indices, self._appended()]))

    def _appended(self) -> Tensor:
        if not self.extra:
            return self.extra_indices[:0]
        return self.extra_indices[torch.randint(len(self.extra_indices), (self.extra,), generator=self.extra_generator)]
