"""Training that is scored by its own running accuracy: that of the batches as they were trained on."""

from __future__ import annotations

from typing import Any, Literal

from torch import Tensor, nn
from torch.nn import functional

from study.data.split import Batch, Batches, Split
from study.parts.training.base import Augment, Training


class RunningAccuracyTraining(Training):
    """Minimises the cross-entropy and counts what is right on the way; see `Training` for the arguments.

    Args:
        keep: the epoch with the highest running accuracy (`train`), or with the highest accuracy on `validation`.
    """

    def __init__(
        self,
        model: nn.Module,
        batches: Batches,
        optimization: Any,
        *,
        max_epochs: int,
        validation: Split,
        augment: Augment,
        keep: Literal["train", "validation"],
    ) -> None:
        super().__init__(model, batches, optimization, max_epochs=max_epochs, validation=validation, augment=augment)
        self.keep = keep
        self._right: Tensor | int = 0
        self._seen = 0

    def loss(self, batch: Batch) -> Tensor:
        logits = self.model(self.augmented(batch.inputs))
        self._right = self._right + (logits.detach().argmax(1) == batch.labels).sum()
        self._seen += len(batch.labels)
        return functional.cross_entropy(logits, batch.labels)

    def score(self) -> float | None:
        """The running accuracy of the epoch that has just ended, or the accuracy on validation; records both."""
        validation = super().score()
        training = int(self._right) / self._seen
        self.record({"train/accuracy": training}, self.steps_taken)
        self._right, self._seen = 0, 0
        return training if self.keep == "train" else validation
