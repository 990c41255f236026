"""A random transform drawn once, so that an image and another made of it are transformed alike."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from study.problem.augmentation import Augmentation

Transform = Callable[[Tensor], Tensor]
"""A random transform of B images that has been drawn: whatever [B, C, H, W] it is applied to, it does the same."""


def drawn_transform(augmentation: Augmentation | None, images: Tensor, generator: torch.Generator) -> Transform:
    """The transform drawn for each of `images` [B, C, H, W]; the identity where `augmentation` is None."""
    if augmentation is None:
        return lambda others: others
    return partial(augmentation.apply, draws=augmentation.draw(images, generator))
