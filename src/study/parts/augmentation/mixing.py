"""Training on AugMix views (Hendrycks et al., ICLR 2020): views of a batch, the consistency loss, the optimizer."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from study.parts.augmentation.augmix import OPERATORS, apply_chains, draw_chains, draw_mix, mix, to_float, to_uint8
from study.parts.training.consistency import jensen_shannon

VIEWS = 2
"""Mixed views of each image in a training step, beside the clean one."""


@dataclass(frozen=True, kw_only=True)
class Mixing:
    """How views are made: `width` chains of 1 to `depth` operators, whose levels are drawn from U(0.1, `severity`)."""

    width: int = 3
    depth: int = 3
    severity: float = 3.0
    operators: tuple[str, ...] = OPERATORS

    def chains(self, images: Tensor, generator: torch.Generator, replacement: Tensor | None = None) -> Tensor:
        """Run each of `images` (float [N, C, H, W] in [0, 1]) through one chain of its own; same shape and range.

        `replacement`, like `images`, is where a chain starts that holds augmix.REPLACE.
        """
        draws = draw_chains(len(images), generator, self.severity, (1, self.depth), self.operators)
        other = None if replacement is None else to_uint8(replacement)
        return to_float(apply_chains(to_uint8(images), draws, other))

    def view(self, images: Tensor, generator: torch.Generator, replacement: Tensor | None = None) -> Tensor:
        """One view of each of `images` (float [B, C, H, W] in [0, 1]): (1 - m) x + m sum_i w_i chain_i(x).

        Normalisation is affine, so to mix before it is to mix after it.
        """
        copies = (self.width, 1, 1, 1)
        other = None if replacement is None else replacement.repeat(copies)
        chains = self.chains(images.repeat(copies), generator, other).view(self.width, *images.shape)
        return mix(images, chains, *draw_mix(len(images), self.width, generator))


def consistency_loss(model: nn.Module, clean: Tensor, views: Tensor, labels: Tensor, weight: float) -> Tensor:
    """Cross-entropy on the clean images plus `weight` times the Jensen-Shannon divergence among all views, a scalar.

    Args:
        clean: [B, C, H, W].
        views: [V * B, C, H, W], one view of every image after the other.
        labels: [B].
    """
    # One forward for all rows: BatchNorm sees clean and mixed images together, as in AugMix.
    logits = model(torch.cat([clean, views])).split(len(clean))
    return functional.cross_entropy(logits[0], labels) + weight * jensen_shannon(logits)


def cosine_sgd(parameters: Iterable[Tensor], lr: float, weight_decay: float, steps: int) -> dict[str, Any]:
    """AugMix's optimizer, as Lightning takes it: SGD, Nesterov 0.9, `lr` by cosine over `steps` (>= 1) to 1e-6."""
    sgd = torch.optim.SGD(parameters, lr, momentum=0.9, nesterov=True, weight_decay=weight_decay, fused=True)
    cosine = torch.optim.lr_scheduler.CosineAnnealingLR(sgd, steps, eta_min=1e-6)
    return {"optimizer": sgd, "lr_scheduler": {"scheduler": cosine, "interval": "step"}}
