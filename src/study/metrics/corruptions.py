"""Images as a bad camera or bad light gives them, at five severities.

Source: Hendrycks and Dietterich, "Benchmarking Neural Network Robustness to Common Corruptions and Perturbations", ICLR
2019; formulas and severities are those of the authors' code for CIFAR-10-C, and for images larger than 64 those for
ImageNet-C. Their images are bytes, ours are not rounded.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import conv2d, pad

SMALL = 64
"""Side of an image, in pixels, up to which the severities of CIFAR-10-C apply."""
SEVERITIES = range(5)
Transform = Callable[[Tensor, float, torch.Generator], Tensor]
"""From images [N, c, h, w] in [0, 1], a strength and a generator on the CPU to images of the same kind."""


class Corruption(NamedTuple):
    """A transform, and its strength at each severity on small and on large images."""

    transform: Transform
    small: Sequence[float]
    large: Sequence[float]

    def __call__(self, images: Tensor, severity: int, generator: torch.Generator) -> Tensor:
        """Corrupted copies of images [N, c, h, w] in [0, 1]; severity from 0 to 4; the generator is on the CPU."""
        strengths = self.small if max(images.shape[-2:]) <= SMALL else self.large
        return self.transform(images, strengths[severity], generator).clamp(0, 1)


def gaussian_noise(images: Tensor, deviation: float, generator: torch.Generator) -> Tensor:
    """Normal noise of this standard deviation on each value."""
    return images + deviation * torch.randn(images.shape, generator=generator).to(images)


def impulse_noise(images: Tensor, share: float, generator: torch.Generator) -> Tensor:
    """This share of the values becomes 0 or 1, either as often."""
    hit, salt = (torch.rand(images.shape, generator=generator) for _ in range(2))
    return torch.where((hit <= share).to(images.device), (salt <= 0.5).to(images), images)


def gaussian_blur(images: Tensor, sigma: float, generator: torch.Generator) -> Tensor:
    """A Gaussian of this standard deviation, in pixels, cut at four of them; the border is repeated outwards."""
    reach = int(4 * sigma + 0.5)
    offsets = torch.arange(-reach, reach + 1, dtype=images.dtype, device=images.device)
    weights = torch.exp(-0.5 * (offsets / sigma) ** 2)
    weights = weights / weights.sum()
    planes = pad(images.flatten(0, 1)[:, None], [reach] * 4, mode="replicate")
    blurred = conv2d(conv2d(planes, weights.view(1, 1, -1, 1)), weights.view(1, 1, 1, -1))
    return blurred.view(images.shape)


def contrast(images: Tensor, factor: float, generator: torch.Generator) -> Tensor:
    """Each value moves towards the mean of its channel; this factor of its distance is left."""
    means = images.mean(dim=(2, 3), keepdim=True)
    return (images - means) * factor + means


def brightness(images: Tensor, added: float, generator: torch.Generator) -> Tensor:
    """The value of each pixel (the V of HSV) rises by so much, hue and saturation stay; black becomes grey."""
    value = images.amax(dim=1, keepdim=True)
    risen = (value + added).clamp(0, 1)
    return torch.where(value > 0, images * (risen / value.clamp(min=torch.finfo(images.dtype).tiny)), risen)


CORRUPTIONS: Mapping[str, Corruption] = {
    "gaussian_noise": Corruption(gaussian_noise, (0.04, 0.06, 0.08, 0.09, 0.10), (0.08, 0.12, 0.18, 0.26, 0.38)),
    "impulse_noise": Corruption(impulse_noise, (0.01, 0.02, 0.03, 0.05, 0.07), (0.03, 0.06, 0.09, 0.17, 0.27)),
    "gaussian_blur": Corruption(gaussian_blur, (0.4, 0.6, 0.7, 0.8, 1.0), (1.0, 2.0, 3.0, 4.0, 6.0)),
    "contrast": Corruption(contrast, (0.75, 0.5, 0.4, 0.3, 0.15), (0.4, 0.3, 0.2, 0.1, 0.05)),
    "brightness": Corruption(brightness, (0.05, 0.1, 0.15, 0.2, 0.3), (0.1, 0.2, 0.3, 0.4, 0.5)),
}
