"""Mixed views of images, as AugMix makes them (Hendrycks et al., ICLR 2020)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from study.parts.augmentation.augmix import (
    OPERATORS,
    PIXEL,
    REPLACE,
    apply_chains,
    draw_chains,
    draw_mix,
    mix,
    to_float,
    to_uint8,
)
from study.problem.task import TaskSpec

VIEWS = 2
"""Mixed views of each image in a training step, beside the clean one."""


def operators_for(task: TaskSpec, *, replaces: bool = False) -> tuple[str, ...]:
    """AugMix's operators that keep the labels of a task: those on grey levels alone where images may not be moved.

    replaces: with augmix.REPLACE, by which a chain starts from another image.
    """
    usual = OPERATORS if task.distortable else tuple(PIXEL)
    return (*usual, REPLACE) if replaces else usual


@dataclass(frozen=True, kw_only=True)
class Mixing:
    """How views are made: `width` chains of 1 to `depth` operators, whose levels are drawn from U(0.1, `severity`)."""

    width: int = 3
    depth: int = 3
    severity: float = 3.0
    operators: tuple[str, ...] = OPERATORS

    def of_grey_levels(
        self,
        images: Tensor,
        generator: torch.Generator,
        replacement: Tensor | None = None,
        source: Tensor | None = None,
    ) -> Tensor:
        """Run each of `images` (uint8 [M, C, H, W]), or those at `source` [N], through a chain; float, in [0, 1].

        `replacement`, like `images`, is where a chain starts that holds augmix.REPLACE.
        """
        draws = draw_chains(
            len(images if source is None else source), generator, self.severity, (1, self.depth), self.operators
        )
        return to_float(apply_chains(images, draws, replacement, source))

    def view(
        self, images: Tensor, generator: torch.Generator, replacement: Tensor | None = None, count: int = 1
    ) -> Tensor:
        """`count` views of each of `images` (float [B, C, H, W] in [0, 1]): (1 - m) x + m sum_i w_i chain_i(x).

        They come view after view, [count * B, C, H, W].

        Normalisation is affine, so to mix before it is to mix after it.
        """
        other = None if replacement is None else to_uint8(replacement)
        source = torch.arange(len(images)).repeat(self.width * count)
        chains = self.of_grey_levels(to_uint8(images), generator, other, source)
        clean = images.repeat(count, 1, 1, 1)
        return mix(clean, chains.view(self.width, *clean.shape), *draw_mix(len(clean), self.width, generator))
