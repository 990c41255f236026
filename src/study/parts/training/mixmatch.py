"""MixMatch (Berthelot et al., NeurIPS 2019): training on labelled items and on a pool of which few labels are known.

As in HybridRepair (Li, Chen, Xu, ISSTA 2022), whose released code draws the pool by weights and smooths its labels.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from study.data.split import Batch, Batches, Split
from study.parts.augmentation.views import Views
from study.parts.training.base import Augment
from study.parts.training.label_smoothing import smoothed
from study.parts.training.mean_loss import MeanLoss


class SemiSupervisedBatches:
    """Pairs of a labelled batch and a batch of a pool, restartable; pool items are drawn with replacement.

    Args:
        labelled: started again whenever it is exhausted.
        pool: n items; a negative label means that it is unknown.
        weights: [n], to which the probability of an item is proportional.
        size: pool items in a batch.
        steps: pairs in a pass.
        generator: on the CPU, of the draws; those of a whole pass are made at its start.
    """

    def __init__(
        self, labelled: Batches, pool: Split, weights: Tensor, *, size: int, steps: int, generator: torch.Generator
    ) -> None:
        self.labelled, self.pool, self.weights = labelled, pool, weights.double().cpu()
        self.size, self.steps, self.generator = size, steps, generator

    def __len__(self) -> int:
        return self.steps

    def __iter__(self) -> Iterator[tuple[Batch, Batch]]:
        drawn = torch.multinomial(self.weights, self.steps * self.size, replacement=True, generator=self.generator)
        for indices, batch in zip(drawn.split(self.size), _restarted(self.labelled), strict=False):
            yield batch, self.pool.fetch(indices)


def _restarted(batches: Batches) -> Iterator[Batch]:
    """Pass after pass without end, each newly shuffled."""
    while True:
        yield from batches


@dataclass(frozen=True, kw_only=True)
class MixMatchSettings:
    """temperature: of the sharpening of guesses; alpha: MixUp shares are drawn from Beta(alpha, alpha); weight: of the
    squared error on the pool; smoothing: of the known labels of the pool."""

    temperature: float
    alpha: float
    weight: float
    smoothing: float


class MixMatch(MeanLoss):
    """Trains for one pass over semi-supervised batches.

    Args:
        model: trained in place.
        batches: pairs of a labelled batch and a batch of the pool.
        optimizer: goes on with the state that it has.
        views: of each pool item, on which the model guesses its target and is trained.
        generator: on the CPU, of the order in which rows are mixed; shares: of the MixUp shares.
        augment: random transform of labelled inputs; None: they stay as they are.
    """

    def __init__(
        self,
        model: nn.Module,
        batches: SemiSupervisedBatches,
        optimizer: torch.optim.Optimizer,
        settings: MixMatchSettings,
        *,
        views: Views,
        generator: torch.Generator,
        shares: np.random.Generator,
        augment: Augment | None = None,
    ) -> None:
        super().__init__(model, batches, optimizer, max_epochs=1, augment=augment)
        self.settings, self.views = settings, views
        self.generator, self.shares = generator, shares

    def loss(self, batch: Any) -> Tensor:
        """Cost of a pair of a labelled batch and one of the pool, a scalar."""
        labelled, drawn = batch
        views = self.views.of(drawn.inputs)
        order = torch.randperm(len(labelled.labels) + len(views), generator=self.generator).to(views.device)
        inputs = self.augmented(labelled.inputs)
        targets = self.targets(drawn.labels, views).repeat(self.views.count + 1, 1)
        share = mixup_share(self.settings.alpha, self.shares)
        weight = self.settings.weight
        return mixmatch_loss(
            self.model, (inputs, labelled.labels), (views, targets), share=share, order=order, weight=weight
        )

    def targets(self, labels: Tensor, views: Tensor) -> Tensor:
        """Targets [B, classes] of pool items: the smoothed label where it is known, elsewhere the model's guess.

        Args:
            labels: [B], negative where unknown.
            views: [V * B, ...], all of one view together.
        """
        guess = guessed(self.model, views, len(labels), self.settings.temperature)
        known = smoothed(labels.clamp(min=0), guess.shape[1], self.settings.smoothing)
        return torch.where((labels >= 0)[:, None], known, guess)


def sharpened(probability: Tensor, temperature: float) -> Tensor:
    """`probability` [B, classes] to the power of 1 / `temperature`, each row divided by its sum."""
    return (probability.log() / temperature).softmax(1)


def guessed(model: nn.Module, views: Tensor, items: int, temperature: float) -> Tensor:
    """Targets [items, classes] that `model` itself gives: its sharpened mean answer to the views of each item.

    views: [V * items, ...], all of one view together. The model runs in the mode that it is in, without gradient.
    """
    with torch.no_grad():
        mean = model(views).softmax(1).unflatten(0, (-1, items)).mean(0)
        return sharpened(mean, temperature)


def mixup_share(alpha: float, generator: np.random.Generator) -> float:
    """max(l, 1 - l) for a draw of l ~ Beta(alpha, alpha): the larger part of a mix is the row's own."""
    drawn = generator.beta(alpha, alpha)
    return max(drawn, 1 - drawn)


def mixed_up(rows: Tensor, order: Tensor, share: float) -> Tensor:
    """share * rows + (1 - share) * rows[order], for `rows` [N, ...] and a permutation `order` [N]."""
    return torch.lerp(rows[order], rows, share)


def mixmatch_loss(
    model: nn.Module,
    labelled: tuple[Tensor, Tensor],
    unlabelled: tuple[Tensor, Tensor],
    *,
    share: float,
    order: Tensor,
    weight: float,
) -> Tensor:
    """Cross-entropy on the labelled rows plus `weight` times the squared error on the others, all mixed up; a scalar.

    The labelled rows are mixed, but held to the label of their larger part, as HybridRepair's code has it.

    Args:
        labelled: inputs [L, ...] and labels [L].
        unlabelled: inputs [U, ...] and targets [U, classes].
        order: [L + U], the row that each row is mixed with.
    """
    (inputs, labels), (others, targets) = labelled, unlabelled
    mixed = mixed_up(torch.cat([inputs, others]), order, share)
    known = functional.one_hot(labels, targets.shape[1]).to(targets)
    mixed_targets = mixed_up(torch.cat([known, targets]), order, share)
    logits = model(mixed)
    count = len(labels)
    error = (logits[count:].softmax(1) - mixed_targets[count:]).square().mean()
    loss: Tensor = functional.cross_entropy(logits[:count], labels) + weight * error
    return loss
