"""The trainings of a network on its training items and on a pool of which few labels are known."""

from __future__ import annotations

from functools import partial
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn

from study.data.split import Batches, Split, joined
from study.errors import RepairFailed
from study.parts.augmentation.views import Views
from study.parts.training.label_smoothing import LabelSmoothing
from study.parts.training.mixmatch import MixMatch, MixMatchSettings, SemiSupervisedBatches
from study.problem.prediction import right
from study.problem.problem import Problem


class PartlyLabelled:
    """Makes short trainings of one network; optimizer and random streams go on from each to the next.

    Args:
        problem: gives the training split, its augmentation and the random streams.
        model: trained in place.
        pool: n items, never augmented; a negative label means that it is unknown.
        optimizer: of the model.
        views, settings: of MixMatch.
        batch_size: labelled items, and pool items, of a gradient step; fewer where there are fewer.

    Its methods take `indices` of training items, on the CPU.
    """

    def __init__(
        self,
        problem: Problem,
        model: nn.Module,
        pool: Split,
        optimizer: torch.optim.Optimizer,
        views: Views,
        settings: MixMatchSettings,
        batch_size: int,
    ) -> None:
        self.model, self.optimizer, self.batch_size = model, optimizer, batch_size
        self.train, self.pool = problem.train, pool
        self.labelled = joined(
            "train_and_labelled", [problem.train, pool.subset((pool.labels >= 0).nonzero().flatten())]
        )
        self.augment = partial(problem.recipe.augmented, generator=problem.stream("augmentation"))
        self.orders, self.draws = problem.stream("batches"), problem.stream("unlabelled")
        self.shares = np.random.default_rng(problem.seed_of("mixup"))
        self.views, self.settings = views, settings

    def learnt(self, subset: Literal["right", "all"], **costs: float) -> Tensor:
        """Indices of training items, on the CPU: all, or those that the network gets right at present.

        Raises RepairFailed, with these costs, where there are none.
        """
        if subset == "all":
            return torch.arange(len(self.train))
        indices = right(self.model, self.train).cpu().nonzero().flatten()
        if not len(indices):
            raise RepairFailed("the network gets no training input right", **costs)
        return indices

    def plain(self, indices: Tensor) -> LabelSmoothing:
        """One pass over the training items at `indices`, with cross-entropy."""
        return self._supervised(indices, smoothing=0.0)

    def supervised(self, indices: Tensor, steps: int | None = None) -> LabelSmoothing:
        """One pass, or `steps` gradient steps, over training items and all pool items whose label is known, with
        cross-entropy to smoothed labels."""
        known = torch.arange(len(self.train), len(self.labelled))
        return self._supervised(torch.cat([indices, known]), self.settings.smoothing, steps)

    def mixmatch(self, indices: Tensor, weights: Tensor, steps: int) -> MixMatch:
        """`steps` gradient steps of MixMatch on training items and on pool items drawn by `weights` [n]."""
        size = min(self.batch_size, len(self.pool))
        labelled = self._batches(indices)
        return MixMatch(
            self.model,
            SemiSupervisedBatches(labelled, self.pool, weights, size=size, steps=steps, generator=self.draws),
            self.optimizer,
            self.settings,
            views=self.views,
            generator=self.draws,
            shares=self.shares,
            augment=self.augment,
        )

    def steps(self, indices: Tensor, limit: int | None) -> int:
        """Whole batches of the training items at `indices`, or of the pool where it has more; at most `limit`."""
        steps = max(count // min(self.batch_size, count) for count in (len(indices), len(self.pool)))
        return steps if limit is None else min(steps, limit)

    def _supervised(self, indices: Tensor, smoothing: float, steps: int | None = None) -> LabelSmoothing:
        return LabelSmoothing(
            self.model,
            self._batches(indices),
            self.optimizer,
            smoothing=smoothing,
            steps=steps,
            augment=self.augment,
            augmented_items=len(self.train),
        )

    def _batches(self, indices: Tensor) -> Batches:
        """Shuffled batches of labelled items, the last one dropped where it is not whole."""
        size = min(self.batch_size, len(indices))
        return self.labelled.batches(size, self.orders, drop_last=True, within=indices)
