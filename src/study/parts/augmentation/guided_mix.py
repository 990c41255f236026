"""AugMix with one more chain: that of another image, the guide."""

from __future__ import annotations

import torch
from torch import Tensor

from study.parts.augmentation.augmix import draw_mix, mix, to_uint8
from study.parts.augmentation.mixing import Mixing


def guided_mix(
    mixing: Mixing, images: Tensor, guides: Tensor, guided: Tensor, generator: torch.Generator, *, raw: bool = False
) -> Tensor:
    """Mix each image with `mixing.width` chains of itself and one of its guide, random convex weights over all of them.

    Args:
        mixing: its operators must not hold augmix.REPLACE.
        images: float [B, C, H, W] in [0, 1]; guides: like `images`.
        guided: [B] bool; where it is False the guide has no weight, and the rest is AugMix.
        generator: on the CPU.
        raw: the guide enters as it is, without operators.
    """
    own, indices = to_uint8(images), torch.arange(2 * len(images))
    source = indices[: len(images)].repeat(mixing.width)
    if raw:
        chains = torch.cat([mixing.of_grey_levels(own, generator, source=source), guides])
    else:
        both = torch.cat([own, to_uint8(guides)])
        chains = mixing.of_grey_levels(both, generator, source=torch.cat([source, indices[len(images) :]]))
    weights, m = draw_mix(len(images), mixing.width + 1, generator)
    return mix(images, chains.view(-1, *images.shape), unguided_left_out(weights.to(images), guided), m)


def unguided_left_out(weights: Tensor, guided: Tensor) -> Tensor:
    """Weights [k + 1, B] with the last, the guide's, left out where an image is not `guided` ([B] bool).

    The others divided by their sum are again a Dirichlet draw.
    """
    weights = torch.cat([weights[:-1], weights[-1:] * guided])
    return weights / weights.sum(dim=0)
