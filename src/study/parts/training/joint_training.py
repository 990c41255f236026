"""Training on several aims at once: accuracy, no negative flips, robustness and equal treatment of two groups."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from study.data.split import Batch, Split
from study.errors import RepairFailed
from study.parts.augmentation.label_preserving import Distortion
from study.parts.training.base import Training
from study.parts.training.fairness import equalised_odds
from study.parts.training.free_adversarial import FreeAdversary
from study.parts.training.loss_hinge import LossHinge


class JointTraining(Training):
    """Cross-entropy, hinge and equalised odds on each mini-batch, and adversarial examples of a part of it.

    Each step has a backward pass for either half; the last epoch is kept. Raises RepairFailed where an epoch ends with
    a loss that is not finite.

    Args (those of `Training` aside):
        aug: share of each batch that is distorted, its first int(aug * B) items; distortion: of those inputs.
        hinge: penalty for a loss above an older model's; None: no such penalty.
        fair: weight of the difference between the groups' odds; needs items with a group if above 0; groups: how many
            sensitive groups there are, at least 2.
        adversary: attacks a part of each batch; None: no attack, and no gradient at the inputs.
    """

    automatic_optimization = False
    _last_loss: Tensor

    def __init__(
        self,
        model: nn.Module,
        batches: Iterable[Batch],
        optimization: Any,
        *,
        max_epochs: int,
        validation: Split,
        aug: float,
        distortion: Distortion,
        hinge: LossHinge | None,
        fair: float,
        groups: int = 2,
        adversary: FreeAdversary | None,
    ) -> None:
        super().__init__(model, batches, optimization, max_epochs=max_epochs, validation=validation)
        self.aug, self.distortion = aug, distortion
        self.hinge, self.fair, self.groups, self.adversary = hinge, fair, groups, adversary

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        self.steps_taken += 1
        optimizer: Any = self.optimizers()
        scheduler: Any = self.lr_schedulers()
        optimizer.zero_grad()
        loss = self.backward_passes(self.distorted(batch))
        optimizer.step()
        scheduler.step()
        self._last_loss = loss.detach()
        return self._last_loss

    def backward_passes(self, batch: Batch) -> Tensor:
        """Add the gradients of the clean and of the adversarial loss of a distorted batch; returns the clean loss."""
        if self.adversary is None:
            loss = self.clean_loss(self.model(batch.inputs), batch)
            self.manual_backward(loss)
            return loss
        logits, attacked = self.adversary.forward(self.model, batch.inputs)
        loss = self.clean_loss(logits, batch)
        self.manual_backward(loss)
        if len(attacked):
            self.manual_backward(self.adversary.loss(self.model, attacked, batch.labels))
        return loss

    def distorted(self, batch: Batch) -> Batch:
        """The batch with its first int(aug * B) inputs distorted."""
        count = int(self.aug * len(batch.labels))
        if not count:
            return batch
        distorted = self.distortion(batch.inputs[:count], batch.indices[:count])
        return batch._replace(inputs=torch.cat([distorted, batch.inputs[count:]]))

    def clean_loss(self, logits: Tensor, batch: Batch) -> Tensor:
        """Cross-entropy + hinge + fair * (difference of the groups' odds) of a distorted batch with logits [B, C]."""
        losses = functional.cross_entropy(logits, batch.labels, reduction="none")
        loss = losses.mean()
        if self.hinge is not None:
            loss = loss + self.hinge(losses, batch, distorted=int(self.aug * len(losses)))
        if self.fair > 0 and batch.groups is not None:
            loss = loss + self.fair * equalised_odds(logits.softmax(1), batch.labels, batch.groups, self.groups)
        return loss

    def score(self) -> None:
        """No epoch is better than the last, at whose end the rate has fallen to 0."""
        super().score()
        self.record({"loss": self._last_loss}, self.steps_taken)
        if not bool(self._last_loss.isfinite()):
            raise RepairFailed("the loss is no longer finite")
