"""Random affine distortion of a batch of images by one bilinear resampling."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

Padding = Literal["zeros", "border"]


@dataclass(frozen=True, kw_only=True)
class RandomAffine:
    """A mild random affine map per image, the label-preserving distortion of small images and photos.

    Args:
        rotation: largest rotation in degrees, either way.
        scale: largest change of size: the factor is drawn from 1 +- scale.
        shear: largest horizontal shear, either way.
        shift: largest shift, as a share of the side, per axis and either way.
        flip: mirror every second image on average, left to right.
        padding: what lies outside the image: "zeros" or its "border".
    """

    rotation: float = 10.0
    scale: float = 0.1
    shear: float = 0.1
    shift: float = 0.08
    flip: bool = False
    padding: Padding = "zeros"

    @classmethod
    def mild(cls, channels: int, flip: bool) -> RandomAffine:
        """Maps that keep the label of drawings on a black ground (one channel), or of photos."""
        if channels == 1:
            return cls(flip=flip)
        return cls(rotation=12.0, scale=0.12, shear=0.08, shift=0.06, flip=flip, padding="border")

    def distorted(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """Images [B, C, H, W], each under a map drawn anew; new tensor of the same shape."""
        return self.apply(images, self.draw(len(images), generator).to(images.device))

    def draw(self, count: int, generator: torch.Generator) -> Tensor:
        """Draw `count` maps from output to input coordinates, [count, 2, 3], on the generator's device.

        Coordinates run from -1 to 1 over each side; angles are those of a square image, `apply` corrects for others.
        """
        uniform = torch.rand(6, count, generator=generator, device=generator.device)
        rotation, scale, shear, right, down = 2 * uniform[:5] - 1
        angle = torch.deg2rad(self.rotation * rotation)
        cos, sin = angle.cos() / (1 + self.scale * scale), angle.sin() / (1 + self.scale * scale)
        mirror = 1 - 2 * (uniform[5] < 0.5).float() if self.flip else torch.ones_like(angle)
        slant = self.shear * shear
        horizontal = torch.stack([mirror * cos, cos * slant - sin, 2 * self.shift * right], dim=1)
        vertical = torch.stack([mirror * sin, sin * slant + cos, 2 * self.shift * down], dim=1)
        return torch.stack([horizontal, vertical], dim=1)

    def apply(self, images: Tensor, theta: Tensor) -> Tensor:
        """Distort float images [B, C, H, W] by their maps `theta` [B, 2, 3] from `draw`; same shape, new tensor."""
        height, width = images.shape[-2:]
        aspect = theta.new_tensor([[1.0, height / width, 1.0], [width / height, 1.0, 1.0]])
        return warp(images, theta * aspect, self.padding)


def warp(images: Tensor, theta: Tensor, padding: Padding = "zeros") -> Tensor:
    """Resample float images [B, C, H, W] bilinearly under `theta` [B, 2, 3].

    `theta` is that of `torch.nn.functional.affine_grid` with align_corners=False.
    """
    grid = _grid(theta.to(images), *images.shape[-2:])
    return functional.grid_sample(images, grid, mode="bilinear", padding_mode=padding, align_corners=False)


def _grid(theta: Tensor, height: int, width: int) -> Tensor:
    # An affine grid is a column term plus a row term: the sum costs a tenth of affine_grid's matrix product.
    columns = theta[:, :, 0, None] * _centres(width, theta)
    rows = theta[:, :, 1, None] * _centres(height, theta) + theta[:, :, 2, None]
    return (rows[:, :, :, None] + columns[:, :, None, :]).permute(0, 2, 3, 1)


def _centres(size: int, like: Tensor) -> Tensor:
    """Pixel centres of a side of `size` pixels that runs from -1 to 1."""
    return (2 * torch.arange(size, dtype=like.dtype, device=like.device) + 1) / size - 1
