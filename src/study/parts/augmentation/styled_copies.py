"""A copy of each training image in the style of a reference image (DeepRepair; Yu et al., 2021, arXiv 2011.09884)."""

from __future__ import annotations

import torch
from torch import Tensor

from study.data.split import Batch, Split
from study.parts.augmentation.augmix import to_float, to_uint8
from study.parts.augmentation.style import BATCH, HaarWCT


class StyledCopies:
    """Copies S(x) = clip(style(x, r(x)), min x, max x) of a split's images, rounded to grey levels.

    They are made once, where the images lie in memory; otherwise when a batch is read.

    Args:
        split: the images x, N of them.
        references: the reference images, R of them.
        style: gives an image the style of one of `references`.
        choice: [N] int64, r(x), the index of each image's reference, on the split's device.
    """

    stored: Tensor | None
    """All copies, uint8 [N, C, H, W]; None where they are made when a batch is read."""

    def __init__(self, split: Split, references: Split, style: HaarWCT, choice: Tensor) -> None:
        self.split, self.references, self.style, self.choice = split, references, style, choice
        self.stored = None
        if isinstance(split.inputs, Tensor):
            self.stored = torch.cat([self._made(batch) for batch in split.batches(BATCH)])

    def __call__(self, batch: Batch) -> Tensor:
        """The copies of a batch of the split, float [B, C, H, W] in [0, 1]."""
        return to_float(self._made(batch) if self.stored is None else self.stored[batch.indices])

    def _made(self, batch: Batch) -> Tensor:
        lowest, highest = (bound.view(-1, 1, 1, 1) for bound in batch.inputs.flatten(1).aminmax(dim=1))
        return to_uint8(self.style(batch.inputs, self.choice[batch.indices]).clamp(lowest, highest))
