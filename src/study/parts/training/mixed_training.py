"""Fine-tuning on mixed views as AugMix trains (Hendrycks et al., ICLR 2020), whatever the images are mixed with."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor, nn
from torch.nn import functional

from study.data.split import Batch, Batches, Split
from study.parts.augmentation.drawn_transform import Transform, drawn_transform
from study.parts.training.base import Training
from study.parts.training.consistency import consistency_loss
from study.parts.training.patience import Patience
from study.problem.prediction import accuracy
from study.problem.problem import Problem

Views = Callable[[Batch, Tensor, Transform], Tensor]
"""Makes the mixed views, [V * B, C, H, W], of a batch: of its items, of the clean view of its inputs [B, C, H, W], and
of the transform that made this view of the inputs."""


class MixedTraining(Training):
    """Learns clean images by cross-entropy, and to predict the same for a clean image and its mixed views.

    After each epoch it records accuracy and loss on the validation split and the share of `failing` that is fixed.

    Args:
        problem: gives the transform of training inputs, the stream that this is drawn from, and the validation split.
        model: trained in place.
        batches: of training images with labels.
        optimization: see `Training`.
        views: makes the mixed views of a batch; called only with a `jsd_weight` above 0.
        jsd_weight: weight of the consistency (Jensen-Shannon divergence) beside cross-entropy, at least 0.
        failing: the failing repair inputs whose share fixed is recorded.
        rank: score of an epoch, from its accuracy on the validation split and the share of `failing` fixed.
        epochs: passes over `batches`.
        patience: epochs without a lower validation loss after which it stops; None: it never stops early.
    """

    validation: Split

    def __init__(
        self,
        problem: Problem,
        model: nn.Module,
        batches: Batches,
        optimization: Any,
        *,
        views: Views,
        jsd_weight: float,
        failing: Split,
        rank: Callable[[float, float], float],
        epochs: int,
        patience: int | None,
    ) -> None:
        super().__init__(model, batches, optimization, max_epochs=epochs, validation=problem.validation)
        self.views, self.jsd_weight = views, jsd_weight
        self.failing, self.rank = failing, rank
        self.transform, self.draws = problem.recipe.transform, problem.stream("augmentation")
        self.patience = Patience(patience)

    def loss(self, batch: Batch) -> Tensor:
        """Cross-entropy on the clean view alone, and the consistency of it with the mixed views."""
        transform = drawn_transform(self.transform, batch.inputs, self.draws)
        clean = transform(batch.inputs)
        if not self.jsd_weight:
            return functional.cross_entropy(self.model(clean), batch.labels)
        views = self.views(batch, clean, transform)
        return consistency_loss(self.model, clean, views, batch.labels, self.jsd_weight)

    def score(self) -> float:
        """Evaluate and record the epoch that has ended, stop where patience runs out, and rank the epoch."""
        right, loss = self.validated(self.validation)
        fixed = accuracy(self.model, self.failing)
        self.record({"repair/fixed": fixed}, self.steps_taken)
        if self.patience.runs_out(loss):
            self.trainer.should_stop = True
        return self.rank(right, fixed)
