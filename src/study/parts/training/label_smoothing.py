"""Training on smoothed labels."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from study.data.split import Batch, Batches
from study.parts.training.base import Augment
from study.parts.training.mean_loss import MeanLoss


def smoothed(labels: Tensor, classes: int, smoothing: float) -> Tensor:
    """Targets [B, classes] for `labels` [B]: 1 - smoothing on the label, smoothing / (classes - 1) on every other."""
    target = torch.full((len(labels), classes), smoothing / (classes - 1), device=labels.device)
    return target.scatter_(1, labels[:, None], 1 - smoothing)


class LabelSmoothing(MeanLoss):
    """Minimises the cross-entropy to smoothed labels, for one pass or a number of steps, with an optimizer of others.

    Args:
        model: trained in place.
        batches: of a split.
        optimizer: goes on with the state that it has.
        smoothing: see `smoothed`; 0: ordinary cross-entropy.
        steps: gradient steps, restarting the batches as often as needed; None: one pass over them.
        augment: random transform of inputs; None: they stay as they are.
        augmented_items: only the first so many items of the split are transformed.
    """

    def __init__(
        self,
        model: nn.Module,
        batches: Batches,
        optimizer: torch.optim.Optimizer,
        *,
        smoothing: float,
        steps: int | None = None,
        augment: Augment | None = None,
        augmented_items: int,
    ) -> None:
        super().__init__(
            model,
            batches,
            optimizer,
            max_epochs=1 if steps is None else -1,
            max_steps=-1 if steps is None else steps,
            augment=augment,
        )
        self.smoothing, self.augmented_items = smoothing, augmented_items

    def loss(self, batch: Batch) -> Tensor:
        logits = self.model(self.inputs_of(batch))
        return functional.cross_entropy(logits, smoothed(batch.labels, logits.shape[1], self.smoothing))

    def inputs_of(self, batch: Batch) -> Tensor:
        """The inputs of a batch, [B, ...], those of the first `augmented_items` of the split transformed."""
        if self.augment is None:
            return batch.inputs
        changes = batch.indices < self.augmented_items
        return torch.where(changes.view(-1, *[1] * (batch.inputs.dim() - 1)), self.augment(batch.inputs), batch.inputs)
