"""Random transforms of training images, whose draws can be applied again to a second input."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional


@dataclass(frozen=True)
class Draws:
    """What was drawn for each of B images: top-left corner of the crop [B] each, and whether it is mirrored [B]."""

    top: Tensor
    left: Tensor
    flip: Tensor


@dataclass(frozen=True)
class Augmentation:
    """Random crop out of an image padded with zeros by an eighth of its side, and, with `flip`, random mirroring."""

    flip: bool

    def draw(self, images: Tensor, generator: torch.Generator) -> Draws:
        """Independent draws for each of `images` ([B, C, H, W])."""
        count, pad = len(images), self.padding(images)
        top, left = torch.randint(0, 2 * pad + 1, (2, count), generator=generator).to(images.device)
        flip = torch.rand(count, generator=generator).to(images.device) < 0.5
        return Draws(top, left, flip if self.flip else torch.zeros_like(flip))

    def apply(self, images: Tensor, draws: Draws) -> Tensor:
        """`images` [B, C, H, W] (or others of that size) transformed as drawn."""
        height, width = images.shape[-2:]
        padded = functional.pad(images, [self.padding(images)] * 4)
        rows = draws.top[:, None] + torch.arange(height, device=images.device)
        columns = torch.arange(width, device=images.device)
        columns = draws.left[:, None] + torch.where(draws.flip[:, None], columns.flip(0), columns)
        batch = torch.arange(len(images), device=images.device)
        return padded[batch[:, None, None], :, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)

    @staticmethod
    def padding(images: Tensor) -> int:
        """Width of the border in pixels."""
        return max(1, images.shape[-1] // 8)


def augmentation(name: str) -> Augmentation | None:
    """The augmentation that a recipe names: none, crop or crop_flip."""
    return None if name == "none" else Augmentation(flip=name == "crop_flip")
