"""Adversarial examples that cost one more pass instead of two: their direction is left by the clean backward pass."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from study.data.threat import ThreatModel
from study.parts.training.schedule import has_batch_norm


@dataclass(frozen=True, kw_only=True)
class FreeAdversary:
    """Trains a part of each mini-batch again as adversarial examples, within the same gradient step.

    The examples are those of FGSM (Goodfellow, Shlens, Szegedy, ICLR 2015: no random start, no iteration), along the
    gradient that the backward pass of the clean loss leaves at the inputs. Call `forward`, run that backward pass, then
    the one of `loss`, then take one step.

    weight: of the examples' loss; share: of each batch, its last round(share * B) items; threat: what may change.
    """

    weight: float
    share: float
    threat: ThreatModel

    def forward(self, model: nn.Module, inputs: Tensor) -> tuple[Tensor, Tensor]:
        """Logits [B, C] of a batch; and the items to be attacked, as a leaf that a backward pass gives a gradient."""
        kept = len(inputs) - round(self.share * len(inputs))
        attacked = inputs.detach()[kept:].requires_grad_(kept < len(inputs))
        parts = [part for part in (inputs[:kept], attacked) if len(part)]
        # Apart, the items that are not attacked need no input gradient, which costs as much as all other gradients.
        # BatchNorm has to see the batch as a whole.
        parts = [torch.cat(parts)] if has_batch_norm(model) else parts
        return torch.cat([model(part) for part in parts]), attacked

    def examples(self, attacked: Tensor) -> Tensor:
        """The attacked items moved by the radius along the sign of their gradient, within what the threat allows."""
        assert attacked.grad is not None, "the backward pass of the clean loss comes first"
        inputs = attacked.detach()
        step = self.threat.radius * self.threat.unit(inputs)
        return (inputs + step * attacked.grad.sign()).clamp(*self.threat.ball(inputs))

    def loss(self, model: nn.Module, attacked: Tensor, labels: Tensor) -> Tensor:
        """weight * share * mean cross-entropy of the examples; labels: [B] of the whole batch."""
        losses = functional.cross_entropy(model(self.examples(attacked)), labels[len(labels) - len(attacked) :])
        return self.weight * self.share * losses
