"""A penalty against negative flips: the loss of an item may not rise above that of the model before the repair."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from study.data.split import Batch, Split
from study.problem.prediction import predict


class LossHinge:
    """weight * max(0, loss - loss of the old model) on items that the old model gets right, 0 on the others.

    Unlike a distance to the old model's outputs it does not hold the new one back where that is better.

    Args:
        before: the old model, in eval mode.
        data: what is trained on; the old model runs over it once.
        weight: of the penalty.
        live: covers distorted items too, on which the old model runs at each step.
    """

    def __init__(self, before: nn.Module, data: Split, *, weight: float, live: bool) -> None:
        self.before, self.weight, self.live = before, weight, live
        self.ceilings = ceilings(predict(before, data), data.labels)

    def __call__(self, losses: Tensor, batch: Batch, distorted: int) -> Tensor:
        """Mean of the penalty over the clean items of a batch, or with `live` over all of them.

        Args:
            losses: [B], of the new model.
            batch: items of `data`, with the inputs on which the losses were computed.
            distorted: how many items are distorted, the first ones of the batch.

        Returns:
            Scalar, 0 where no item is covered.
        """
        limits = self.ceilings[batch.indices]
        if not self.live:
            losses, limits = losses[distorted:], limits[distorted:]
        elif distorted:
            with torch.no_grad():
                logits = self.before(batch.inputs[:distorted])
            limits = torch.cat([ceilings(logits, batch.labels[:distorted]), limits[distorted:]])
        return self.weight * ((losses - limits).relu().sum() / max(1, len(losses)))


def ceilings(logits: Tensor, labels: Tensor) -> Tensor:
    """Loss [N] up to which there is no penalty: that of the logits [N, C] where they are right, else infinity."""
    losses = functional.cross_entropy(logits, labels, reduction="none")
    return losses.where(logits.argmax(1) == labels, torch.inf)
