"""Style transfer without learned weights: Haar wavelets and whitening-colouring (`haar_wct`).

In place of WCT2 (Yoo et al., ICCV 2019), on which DeepRepair builds: wavelet pooling with exact reconstruction and a
whitening-colouring transform at each scale, the convolutions of its encoder replaced by the identity. Colour, contrast
and haze lie in the deepest low-pass band, the energy of blur and noise in the detail bands.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

EPS = 1e-5
BATCH = 1000
"""Images styled at a time."""


def usual_levels(height: int, width: int) -> int:
    """How often images of that size are halved: 4 times from 128 pixels a side, 3 from 24, 2 from 8, 1 from 2."""
    side = min(height, width)
    return next((levels for levels, smallest in ((4, 128), (3, 24), (2, 8), (1, 2)) if side >= smallest), 0)


def split(images: Tensor) -> tuple[Tensor, list[Tensor]]:
    """One Haar level of [B, C, 2 h, 2 w]: the low-pass band and the details LH, HL, HH, [B, C, h, w] each."""
    a, b = images[..., ::2, ::2], images[..., ::2, 1::2]
    c, d = images[..., 1::2, ::2], images[..., 1::2, 1::2]
    details = [(a - b + c - d) / 2, (a + b - c - d) / 2, (a - b - c + d) / 2]
    return (a + b + c + d) / 2, details


def joined(low: Tensor, details: Sequence[Tensor]) -> Tensor:
    """The inverse of `split`."""
    lh, hl, hh = details
    upper = torch.stack([(low + lh + hl + hh) / 2, (low - lh + hl - hh) / 2], dim=-1).flatten(-2)
    lower = torch.stack([(low + lh - hl - hh) / 2, (low - lh - hl + hh) / 2], dim=-1).flatten(-2)
    return torch.stack([upper, lower], dim=-2).flatten(-3, -2)


def bands(images: Tensor, levels: int) -> list[Tensor]:
    """Details of each level, finest first, then the deepest low-pass band; sides are multiples of 2 ** levels."""
    all_details = list[Tensor]()
    for _ in range(levels):
        images, details = split(images)
        all_details += details
    return [*all_details, images]


def assembled(parts: Sequence[Tensor]) -> Tensor:
    """The inverse of `bands`."""
    images = parts[-1]
    for start in range(len(parts) - 4, -1, -3):
        images = joined(images, parts[start : start + 3])
    return images


@dataclass(frozen=True)
class Style:
    """Statistics of R reference images in one band: mean [R, C] and the root of the covariance [R, C, C]."""

    mean: Tensor
    root: Tensor


class HaarWCT:
    """Gives images the style of one of R reference images each.

    Args:
        references: [R, C, H, W] in [0, 1].
        levels: how often the bands are halved; 0: whitening-colouring of the pixels.
        eps: added to variances, and the smallest eigenvalue of a covariance.
        alpha: share of the styled bands, the rest being the content's own.
    """

    def __init__(self, references: Tensor, levels: int | None = None, eps: float = EPS, alpha: float = 1.0) -> None:
        self.levels = usual_levels(*references.shape[2:]) if levels is None else levels
        self.eps, self.alpha = eps, alpha
        self.styles = list[Style]()
        for band in bands(padded(references, self.levels), self.levels):
            mean, covariance = _statistics(band, eps)
            self.styles.append(Style(mean, _power(covariance, 0.5, eps)))

    def __call__(self, images: Tensor, choice: Tensor) -> Tensor:
        """Styled `images` [B, C, H, W], not clipped; `choice` [B]: the reference of each."""
        height, width = images.shape[2:]
        parts = bands(padded(images, self.levels), self.levels)
        styled = [self._transferred(band, style, choice) for band, style in zip(parts, self.styles, strict=True)]
        top, left = _before(height, self.levels), _before(width, self.levels)
        return assembled(styled)[..., top : top + height, left : left + width]

    def _transferred(self, band: Tensor, style: Style, choice: Tensor) -> Tensor:
        """Sy^(1/2) Sx^(-1/2) (X - mean x) + mean y over channels."""
        mean, covariance = _statistics(band, self.eps)
        matrix = style.root[choice] @ _power(covariance, -0.5, self.eps)
        centred = band.flatten(2) - mean[..., None]
        coloured = (matrix @ centred + style.mean[choice][..., None]).view_as(band)
        return self.alpha * coloured + (1 - self.alpha) * band


def padded(images: Tensor, levels: int) -> Tensor:
    """Images reflected at their borders to sides that are multiples of 2 ** levels, half before and half after."""
    height, width = images.shape[2:]
    top, left = _before(height, levels), _before(width, levels)
    bottom, right = -height % 2**levels - top, -width % 2**levels - left
    return functional.pad(images, (left, right, top, bottom), mode="reflect")


def _before(side: int, levels: int) -> int:
    return int(-side % 2**levels) // 2


def _statistics(band: Tensor, eps: float) -> tuple[Tensor, Tensor]:
    """Channel means [B, C] and covariance plus eps I [B, C, C] of [B, C, h, w]."""
    values = band.flatten(2)
    mean = values.mean(2)
    centred = values - mean[..., None]
    covariance = centred @ centred.mT / max(1, values.shape[2] - 1)
    return mean, covariance + eps * torch.eye(values.shape[1], device=values.device)


def _power(matrices: Tensor, power: float, smallest: float) -> Tensor:
    """Symmetric matrices [B, C, C] to a power, their eigenvalues clamped at `smallest`."""
    if matrices.shape[-1] == 1:
        return torch.pow(matrices.clamp(min=smallest), power)
    values, vectors = torch.linalg.eigh(matrices.double())
    scaled = vectors * torch.pow(values.clamp(min=smallest)[:, None], power)
    return torch.matmul(scaled, vectors.mT).to(matrices)
