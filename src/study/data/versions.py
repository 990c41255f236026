"""Images in one of two versions, colour or grey."""

from __future__ import annotations

import torch
from torch import Tensor

from study.data.split import Inputs
from study.runtime.randomness import stream

LUMINANCE = (0.299, 0.587, 0.114)
"""Share of red, green and blue in a grey value (ITU-R BT.601, as Pillow converts)."""
SATURATION = 0.75
"""Of tints: the weakest channel of a tinted image is at a quarter of the strongest."""
CHUNK = 1000
"""Images that are made grey at a time."""


def tints(count: int) -> Tensor:
    """Colours of full brightness and evenly drawn hue, [count, 3] in [0, 1]: the same ones each time."""
    hue = 6 * torch.rand(count, generator=stream(0, "tint"))
    place = (torch.tensor([5.0, 3.0, 1.0]) + hue[:, None]) % 6
    return 1 - SATURATION * torch.minimum(place, 4 - place).clamp(0, 1)


def in_versions(images: Tensor, greyed: Tensor, tint: Tensor | None) -> Tensor:
    """Images [N, 3, H, W] float32: those at `greyed` [N] (bool) in grey, three equal channels, the others in colour.

    tint: of each image, [N, 3], where `images` are [N, 1, H, W]; None where they are [N, 3, H, W], which are then
    overwritten.
    """
    if tint is not None:
        return images * tint.masked_fill(greyed[:, None], 1)[:, :, None, None]
    weights = torch.tensor(LUMINANCE)[:, None, None]
    for part in greyed.nonzero().flatten().split(CHUNK):
        images[part] = (images[part] * weights).sum(1, keepdim=True)
    return images


class Versions:
    """Images that lie in files, each in colour or in grey: see `in_versions`."""

    def __init__(self, images: Inputs, greyed: Tensor, tint: Tensor | None) -> None:
        self.images, self.greyed, self.tint = images, greyed, tint

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, indices: Tensor) -> Tensor:
        places = indices.cpu()
        tint = None if self.tint is None else self.tint[places]
        return in_versions(self.images[places], self.greyed[places], tint)
