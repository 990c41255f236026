"""Test-time augmentation: images together with random AugMix views of them."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from study.parts.augmentation.mixing import Mixing


@dataclass(frozen=True)
class Views:
    """`count` random views of each image beside the image itself; every call draws new ones from `generator`."""

    mixing: Mixing
    count: int
    generator: torch.Generator

    def of(self, images: Tensor) -> Tensor:
        """`images` [B, C, H, W] and their views, [(count + 1) * B, C, H, W]: first the images, then view after view."""
        return torch.cat([images, self.mixing.view(images, self.generator, count=self.count)])
