"""A training whose mean loss is known afterwards."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from study.data.split import Batch
from study.errors import RepairFailed
from study.parts.training.base import Training


class MeanLoss(Training):
    """A training whose mean loss can be read when a fit has ended."""

    def on_fit_start(self) -> None:
        super().on_fit_start()
        self._total = torch.zeros(())
        self._steps_before = self.steps_taken

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        loss = super().training_step(batch, batch_idx)
        self._total = self._total + loss.detach()
        return loss

    @property
    def mean_loss(self) -> Tensor:
        """Mean over the gradient steps of the last fit, a scalar; infinite or NaN where it diverged."""
        return self._total / (self.steps_taken - self._steps_before)

    def finite_loss(self, **costs: float) -> float:
        """The mean loss; raises RepairFailed, with these costs, where it is not finite."""
        loss = self.mean_loss.item()
        if not math.isfinite(loss):
            raise RepairFailed("the loss is no longer finite", **costs)
        return loss
