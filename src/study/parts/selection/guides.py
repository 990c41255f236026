"""For each image of a batch a random other image of its class."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from study.data.split import Split
from study.parts.augmentation.drawn_transform import drawn_transform
from study.problem.augmentation import Augmentation


@dataclass(frozen=True)
class Guides:
    """G images that guide others of their class.

    split: the images and their labels; table: [classes, size of the largest class] int64, indices into `split` by
    class, padded; counts: [classes], images of each class; rank: [G], column of each image in its row; same_class: if
    False a guide may be of any class: the table has one row, and every image looks there.
    """

    split: Split
    table: Tensor
    counts: Tensor
    rank: Tensor
    same_class: bool

    @classmethod
    def of(cls, split: Split, classes: int, same_class: bool) -> Guides:
        """The guides that the items of `split` are, on its device."""
        rows = split.labels if same_class else torch.zeros_like(split.labels)
        counts = torch.bincount(rows, minlength=classes if same_class else 1)
        order = rows.argsort(stable=True)
        starts = counts.cumsum(0) - counts
        rank = torch.empty_like(order)
        rank[order] = torch.arange(len(order), device=order.device) - starts[rows[order]]
        table = torch.zeros(len(counts), int(counts.max()), dtype=torch.int64, device=order.device)
        table[rows, rank] = torch.arange(len(order), device=order.device)
        return cls(split, table, counts, rank, same_class)

    def draw(self, labels: Tensor, members: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """For each image with `labels` [B] the index of a guide, [B], and whether there is one, [B] bool.

        `members` [B]: the image's own index among the guides, negative if it is none of them; such an image gets
        another guide than itself unless it is the only one.
        """
        rows = labels if self.same_class else torch.zeros_like(labels)
        counts = self.counts[rows]
        excluded = (members >= 0) & (counts > 1)
        choices = counts - excluded.long()
        uniform = torch.rand(len(labels), generator=generator).to(labels.device)
        column = torch.minimum((uniform * choices).long(), choices - 1).clamp(min=0)
        column = column + (excluded & (column >= self.rank[members.clamp(min=0)])).long()
        return self.table[rows, column], counts > 0

    def images(self, indices: Tensor, augmentation: Augmentation | None, generator: torch.Generator) -> Tensor:
        """The guides at `indices` [B], [B, C, H, W], each under a transform drawn for it."""
        images = self.split.fetch(indices).inputs
        return drawn_transform(augmentation, images, generator)(images)
