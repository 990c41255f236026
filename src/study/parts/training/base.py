"""Ordinary training of a network: a loader, a loss, an optimizer, and the rule which epoch to keep."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from torch import Tensor, nn
from torch.nn import functional

from study.data.split import Batch, Split
from study.parts.training.validation import validated
from study.runtime.best_state import BestState
from study.runtime.fit import Stage

Augment = Callable[[Tensor], Tensor]
"""A random transform of a batch of inputs, drawn anew at each call."""


class Training(Stage):
    """Trains `model` in place; when the fit has ended it is in eval mode and holds the weights of the kept epoch.

    A subclass says what a batch costs (`loss`) or which epoch to keep (`score`), if it is not cross-entropy and the
    best on validation. One that is fitted again goes on with the same optimizer and schedule.

    Args:
        model: the network; in train mode during the fit, whatever it was before.
        batches: what is iterated over at each pass.
        optimization: an optimizer, or what Lightning's `configure_optimizers` may return.
        max_epochs: passes at most; max_steps: gradient steps at most; -1: no such limit.
        validation: the split on which `score` measures; None: the last epoch is kept.
        augment: applied to the inputs of each batch; None: they stay as they are.
    """

    def __init__(
        self,
        model: nn.Module,
        batches: Iterable[Any],
        optimization: Any,
        *,
        max_epochs: int = -1,
        max_steps: int = -1,
        validation: Split | None = None,
        augment: Augment | None = None,
    ) -> None:
        super().__init__()
        self.model, self.batches, self.optimization = model, batches, optimization
        self.max_epochs, self.max_steps = max_epochs, max_steps
        self.validation, self.augment = validation, augment
        self.best = BestState()

    def train_dataloader(self) -> Iterable[Any]:
        return self.batches

    def configure_optimizers(self) -> Any:
        return self.optimization

    def loss(self, batch: Batch) -> Tensor:
        """Cost of a batch, a scalar: cross-entropy of the (augmented) inputs."""
        return functional.cross_entropy(self.model(self.augmented(batch.inputs)), batch.labels)

    def augmented(self, inputs: Tensor) -> Tensor:
        """Inputs [B, ...] under the random transform; as they are without one."""
        return inputs if self.augment is None else self.augment(inputs)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        self.steps_taken += 1
        return self.loss(batch)

    def score(self) -> float | None:
        """Score of the epoch that has just ended (the highest is kept, ties: the earliest); None: keep the last."""
        return None if self.validation is None else self.validated(self.validation)[0]

    def validated(self, split: Split) -> tuple[float, float]:
        """Accuracy and cross-entropy of the network on the validation split, recorded."""
        figures = validated(self.model, split)
        self.record(figures, self.steps_taken)
        return figures["validation/accuracy"], figures["validation/loss"]

    def on_train_epoch_end(self) -> None:
        score = self.score()
        if score is not None:
            self.best.offer(score, self.model)

    def on_fit_end(self) -> None:
        self.best.restore(self.model)
        self.model.eval()
