"""Fine-tuning on mixed views: what FSGMix and DeepRepair share, whatever they mix the images with."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor
from torch.nn import functional

from study.data.split import Batch
from study.errors import NotApplicable
from study.parts.augmentation.augmix import OPERATORS, REPLACE
from study.parts.augmentation.mixing import Mixing, consistency_loss
from study.parts.training.patience import Patience
from study.problem.prediction import accuracy
from study.problem.problem import Problem, TaskSpec
from study.repair.approach import FineTuning

Transform = Callable[[Tensor], Tensor]
"""A random transform already drawn: the same for whatever it is applied to."""


class MixedTraining(FineTuning):
    """Learns clean images by cross-entropy, and to predict the same for a clean image and its mixed views.

    A subclass says what the `views` are, its `batches` and optimizer, and which epoch to `select`.

    Args:
        width, depth, severity: of the mixes, see `Mixing`.
        replacing: whether a chain may also start from another image.
        jsd_weight: of the consistency; 0: no view is made.
        epochs: passes over `batches`.
        patience: epochs without a lower validation loss after which it ends; None: it never ends early.
    """

    def __init__(
        self,
        *,
        width: int,
        depth: int,
        severity: float,
        replacing: bool,
        jsd_weight: float,
        epochs: int,
        patience: int | None,
        max_seconds: float | None,
    ) -> None:
        super().__init__(max_seconds=max_seconds)
        operators = (*OPERATORS, REPLACE) if replacing else OPERATORS
        self.mixing = Mixing(width=width, depth=depth, severity=severity, operators=operators)
        self.jsd_weight, self.max_epochs, self.patience = jsd_weight, epochs, patience

    def check(self, task: TaskSpec) -> None:
        if task.kind != "image":
            raise NotApplicable(f"needs images: the inputs are {task.kind}")

    @property
    def epochs(self) -> int:
        return self.max_epochs

    def begin(self, problem: Problem) -> None:
        super().begin(problem)
        self.failing = problem.repair_set.subset(problem.failing, "failing")
        self.draws, self.mixes = problem.stream("augmentation"), problem.stream("mixes")
        self.stopping = Patience(self.patience)

    def loss(self, batch: Batch) -> Tensor:
        """Cross-entropy on the clean view alone, and the consistency of it with the mixed views."""
        transform = self.transform(batch.inputs, self.draws)
        clean = transform(batch.inputs)
        if not self.jsd_weight:
            return functional.cross_entropy(self.model(clean), batch.labels)
        views = self.views(batch, clean, transform)
        return consistency_loss(self.model, clean, views, batch.labels, self.jsd_weight)

    def transform(self, images: Tensor, generator: torch.Generator) -> Transform:
        """The recipe's transform as drawn for these images ([B, C, H, W]); without one, what changes nothing."""
        augmentation = self.problem.recipe.transform
        if augmentation is None:
            return lambda others: others
        return partial(augmentation.apply, draws=augmentation.draw(images, generator))

    def views(self, batch: Batch, clean: Tensor, transform: Transform) -> Tensor:
        """Mixed views of each image, [mixing.VIEWS * B, C, H, W]; `clean` is the batch's inputs under `transform`."""
        raise NotImplementedError

    def evaluated(self) -> tuple[float, float]:
        """Validation accuracy and share of the failing inputs fixed, recorded; the validation loss may end training."""
        right, loss = self.validated()
        fixed = accuracy(self.model, self.failing)
        self.record({"repair/fixed": fixed}, self._taken)
        if self.stopping.runs_out(loss):
            self.trainer.should_stop = True
        return right, fixed
