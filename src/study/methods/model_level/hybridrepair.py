"""HybridRepair: a few bought labels, handed on within clusters, and the rest of the pool without labels.

Yu Li, Muxi Chen, Qiang Xu: HybridRepair: Towards Annotation-Efficient Repair for Deep Learning Models, ISSTA 2022,
doi 10.1145/3533767.3534408. Written from the description of its released code (cure-lab/HybridRepair); the clusters
are found among the faulty network's own penultimate features, as that code offers beside MoCo v3's.
Level: model. Needs: images, a last Linear layer. It never asks which repair inputs fail, and buys each label it reads.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import chain, islice, repeat
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
import torch
from pydantic import Field, validate_call
from torch import Tensor, nn
from torch.nn import functional

from study.data.split import Batch, Batches, Split, joined
from study.errors import NotApplicable, RepairFailed
from study.parts.augmentation.mixing import Mixing
from study.parts.network.penultimate import penultimate
from study.parts.pictures.contact_sheet import contact_sheet
from study.parts.selection.label_budget import (
    NONE,
    Purchase,
    Selection,
    affordable,
    clustered,
    most_uncertain_clusters,
    one_by_one,
)
from study.parts.selection.uncertainty import relative, threshold, view_entropy, with_views
from study.parts.training.mixmatch import guessed, mixmatch_loss, mixup_shares, smoothed
from study.problem.prediction import predict, right
from study.problem.problem import Problem, TaskSpec
from study.repair.approach import Level, Log, Patching, Rounds, Seconds

SHOWN = 12
"""Rows of a picture, and inputs in each."""


class HybridRepair(Patching):
    """Buys labels where uncertainty clusters, then alternates supervised and MixMatch-like epochs.

    Hyperparameters: see conf/method/hybridrepair.yaml.
    """

    level: ClassVar[Level] = "model"
    source: ClassVar[str] = "Li, Chen, Xu: HybridRepair, ISSTA 2022"

    @validate_call
    def __init__(
        self,
        *,
        budget_percent: Annotated[float, Field(gt=0)] = 10.0,
        labels: Literal["uncertain_clusters", "uncertain", "random"] = "uncertain_clusters",
        views: Annotated[int, Field(ge=1)] = 4,
        severity: Annotated[float, Field(ge=0.1, le=10)] = 3.0,
        min_samples: Annotated[int, Field(ge=1)] = 3,
        min_cluster_size: Annotated[int, Field(ge=2)] = 5,
        average_cluster_size: Annotated[int, Field(ge=1)] = 10,
        tau_neighbours: Annotated[int, Field(ge=1)] = 100,
        tau_points: Annotated[int, Field(ge=1)] = 1000,
        lr: Annotated[float, Field(gt=0)] = 0.01,
        momentum: Annotated[float, Field(ge=0, lt=1)] = 0.9,
        weight_decay: Annotated[float, Field(ge=0)] = 5e-4,
        batch_size: Annotated[int, Field(ge=1)] = 64,
        train_subset: Literal["right", "all"] = "all",
        warm_epochs: Annotated[int, Field(ge=0)] = 6,
        epochs: Annotated[int, Field(ge=0)] = 6,
        ssl: bool = True,
        max_ssl_steps: Annotated[int, Field(ge=1)] | None = 50,
        lambda_u: Annotated[float, Field(ge=0)] = 100.0,
        temperature: Annotated[float, Field(gt=0, le=1)] = 0.5,
        mixup_alpha: Annotated[float, Field(gt=0)] = 0.75,
        smoothing: Annotated[float, Field(ge=0, lt=0.5)] = 0.1,
        select: Literal["validation", "entropy"] = "validation",
        max_seconds: Seconds = None,
    ) -> None:
        super().__init__(max_seconds=max_seconds)
        self.budget_percent, self.labels, self.views = budget_percent, labels, views
        self.mixing = Mixing(width=1, severity=severity)
        self.min_samples, self.min_cluster_size = min_samples, min_cluster_size
        self.average_cluster_size = average_cluster_size
        self.tau_neighbours, self.tau_points = tau_neighbours, tau_points
        self.lr, self.momentum, self.weight_decay = lr, momentum, weight_decay
        self.batch_size, self.train_subset = batch_size, train_subset
        self.warm_epochs, self.repair_epochs = warm_epochs, epochs
        self.ssl, self.max_ssl_steps, self.lambda_u = ssl, max_ssl_steps, lambda_u
        self.temperature, self.mixup_alpha, self.smoothing = temperature, mixup_alpha, smoothing
        self.kept: Literal["validation", "entropy"] = select
        self._taken = 0

    def check(self, task: TaskSpec) -> None:
        if task.kind != "image":
            raise NotApplicable(f"needs images: the inputs are {task.kind}")
        if task.num_classes < 2:
            raise NotApplicable("needs at least two classes")
        if not any(isinstance(module, nn.Linear) for module in task.model.modules()):
            raise NotApplicable("clusters what enters the last Linear layer: the network has none")

    def begin(self, problem: Problem) -> None:
        super().begin(problem)
        self._view_draws, self._orders = problem.stream("views"), problem.stream("batches")
        self._draws, self._augmentation = problem.stream("unlabelled"), problem.stream("augmentation")
        self._shares = np.random.default_rng(problem.seed_of("mixup"))

    def rounds(self, problem: Problem) -> Rounds:
        """Steps 1 to 10: one round selects, each further one is an epoch."""
        if not len(problem.train):
            raise NotApplicable("needs training inputs: there are none")
        self.model = problem.copy()
        inputs = problem.pool.inputs()
        self._pool = Split("pool", inputs, torch.full((len(inputs),), NONE, device=inputs.device))
        uncertainty = relative(self._entropy(self._pool))
        self._selection = selection = self._selected(uncertainty)
        yield {"pool/labelled": len(selection.labelled), "pool/trusted": selection.trusted.sum()}
        self._start_training()
        for _ in range(self.warm_epochs):  # step 8
            yield {"loss/warm": self._supervised(self._learnt(), smoothing=0.0)} | self._validation()
        weights = selection.weights(uncertainty)
        best: tuple[float, dict[str, Tensor]] | None = None
        for _ in range(self.repair_epochs):  # step 9
            losses = self._repair_epoch(weights)
            entropy = self._entropy(self._pool)
            weights = selection.weights(relative(entropy))
            measured = {"pool/entropy": entropy.sum()} | self._validation()
            score = float(-entropy.sum() if self.kept == "entropy" else measured["validation/accuracy"])
            if best is None or score > best[0]:
                best = score, {name: tensor.clone() for name, tensor in self.model.state_dict().items()}
            yield losses | measured
        if best is not None:  # step 10
            self.model.load_state_dict(best[1])
        return self.model

    def _selected(self, uncertainty: Tensor) -> Selection:
        """Steps 3 to 7: tau, and the labels that are bought and handed on; the network stays as it is."""
        problem, model = self.problem, self.model
        tau = threshold(
            relative(self._entropy(problem.validation)),
            predict(model, problem.validation),
            predict(model, problem.train),
            self.tau_neighbours,
            self.tau_points,
        )
        self._purchase = self._chosen(uncertainty)
        labels = self._purchase.propagated(problem.pool.reveal(self._purchase.bought))
        return Selection(labels, uncertainty <= tau)

    def _entropy(self, split: Split) -> Tensor:
        return view_entropy(self.model, split, self.mixing, self.views, self._view_draws)

    def _chosen(self, uncertainty: Tensor) -> Purchase:
        """Steps 5 and 6: the labels to buy; as controls the most uncertain inputs', or those of inputs at random."""
        size, generator = len(self._pool), self.problem.stream("labels")
        budget = affordable(self.budget_percent, size)
        if not budget:
            raise RepairFailed(f"{self.budget_percent:g} % of the {size} repair inputs buy not a single label")
        if self.labels == "uncertain":
            return one_by_one(uncertainty.argsort(descending=True, stable=True)[:budget], size)
        if self.labels == "random":
            return one_by_one(torch.randperm(size, generator=generator)[:budget].to(uncertainty.device), size)
        clusters = clustered(
            penultimate(self.model, self._pool),
            budget,
            min_samples=self.min_samples,
            min_cluster_size=self.min_cluster_size,
            average_size=self.average_cluster_size,
            seed=self.problem.seed_of("clusters"),
        )
        return most_uncertain_clusters(clusters, uncertainty, budget, generator)

    def _start_training(self) -> None:
        """The labelled items, and one SGD that keeps its momentum from step 8 on into step 9."""
        places = self._selection.labelled
        known = Split("labelled", self._pool.fetch(places).inputs, self._selection.labels[places])
        self._data = joined("train_and_labelled", [self.problem.train, known])
        settings: dict[str, Any] = {"momentum": self.momentum, "weight_decay": self.weight_decay, "fused": True}
        self._optimizer = torch.optim.SGD(self.model.parameters(), self.lr, **settings)
        self.model.train()

    def _repair_epoch(self, weights: Tensor) -> dict[str, float | Tensor]:
        """Steps 9a and 9b with R as it is at their start; without `ssl` supervised steps for 9b. Mean losses."""
        learnt = self._learnt()
        known = torch.cat([learnt, torch.arange(len(self.problem.train), len(self._data))])
        supervised = self._supervised(known, self.smoothing)
        steps = self._steps_without_labels(learnt)
        if not self.ssl:
            return {"loss/supervised": supervised, "loss/instead": self._supervised(known, self.smoothing, steps)}
        return {"loss/supervised": supervised, "loss/semi": self._semi_supervised(learnt, weights, steps)}

    def _learnt(self) -> Tensor:
        """R: places of the training items that the network gets right at present, or all of them (`train_subset`)."""
        train = self.problem.train
        learnt = right(self.model, train).cpu() if self.train_subset == "right" else torch.ones(len(train)).bool()
        if not bool(learnt.any()):
            raise RepairFailed("the network gets no training input right")
        return learnt.nonzero().flatten()

    def _supervised(self, within: Tensor, smoothing: float, steps: int | None = None) -> Tensor:
        """Step 9a (8 without smoothing): one epoch over the items at `within`, or that many steps; its mean loss."""
        batches = self._batches(within)
        count = len(batches) if steps is None else steps
        total = torch.zeros((), device=self.problem.device)
        for batch in islice(_endless(batches), count):
            target = smoothed(batch.labels, self.problem.task.num_classes, smoothing)
            total += self._step(functional.cross_entropy(self.model(self._transformed(batch)), target))
        return _finite(total / count)

    def _steps_without_labels(self, learnt: Tensor) -> int:
        """Steps of an epoch of 9b: as many as the larger of R and the pool has batches, up to the cap."""
        steps = max(len(rows) // min(self.batch_size, len(rows)) for rows in (learnt, self._pool.labels))
        return steps if self.max_ssl_steps is None else min(steps, self.max_ssl_steps)

    def _semi_supervised(self, learnt: Tensor, weights: Tensor, steps: int) -> Tensor:
        """Step 9b: as many MixMatch steps on R and the pool, drawn by `weights` with replacement; their mean loss."""
        size = min(self.batch_size, len(weights))
        draws = torch.multinomial(weights.double().cpu(), steps * size, replacement=True, generator=self._draws)
        shares = mixup_shares(steps, self.mixup_alpha, self._shares)
        total = torch.zeros((), device=self.problem.device)
        for places, share, batch in zip(draws.split(size), shares, _endless(self._batches(learnt)), strict=False):
            images = self._pool.fetch(places).inputs
            views = with_views(images, self.mixing, self.views, self._view_draws)
            order = torch.randperm(len(batch.labels) + len(views), generator=self._draws).to(views.device)
            loss = mixmatch_loss(
                self.model,
                (self._transformed(batch), batch.labels),
                (views, self._targets(views, places.to(views.device)).repeat(self.views + 1, 1)),
                share=share,
                order=order,
                weight=self.lambda_u,
            )
            total += self._step(loss)
        return _finite(total / steps)

    def _targets(self, views: Tensor, places: Tensor) -> Tensor:
        """What the inputs at `places` [B] should be taken for, [B, classes]: their label in P, or a guess."""
        labels = self._selection.labels[places]
        guess = guessed(self.model, views, len(places), self.temperature)
        known = smoothed(labels.clamp(min=0), guess.shape[1], self.smoothing)
        return torch.where((labels != NONE)[:, None], known, guess)

    def _batches(self, within: Tensor) -> Batches:
        """Shuffled batches of the training items and of P, the last one dropped; smaller ones of few items."""
        return self._data.batches(min(self.batch_size, len(within)), self._orders, drop_last=True, within=within)

    def _transformed(self, batch: Batch) -> Tensor:
        """Inputs of a batch, the training items among them transformed as in the faulty model's training."""
        changed = self.problem.recipe.augmented(batch.inputs, self._augmentation)
        of_training = batch.indices < len(self.problem.train)
        return torch.where(of_training[:, None, None, None], changed, batch.inputs)

    def _step(self, loss: Tensor) -> Tensor:
        self._taken += 1
        self._optimizer.zero_grad()
        loss.backward()
        self._optimizer.step()
        return loss.detach()

    def _validation(self) -> dict[str, float | Tensor]:
        logits, labels = predict(self.model, self.problem.validation), self.problem.validation.labels
        accuracy = (logits.argmax(1) == labels).double().mean()
        return {"validation/accuracy": accuracy, "validation/loss": functional.cross_entropy(logits, labels)}

    def costs(self) -> Log:
        return {"steps": self._taken, "labels": len(self.problem.pool.revealed)}

    def pictures(self) -> Mapping[str, Any]:
        """The inputs whose label was bought, by label, and the clusters that it was handed on to, the centre first."""
        bought, images = self._purchase.bought, self.problem.pool.inputs()
        labels = self._selection.labels[bought]
        by_label = [(int(label), bought[labels == label]) for label in labels.unique()]
        families = [self._purchase.family(place) for place in range(min(SHOWN, len(bought)))]
        clusters = [
            (f"label {int(labels[i])}, for {len(places)}", images[places[:SHOWN]]) for i, places in enumerate(families)
        ]
        return {
            "bought": contact_sheet(
                f"{len(bought)} labels bought, by label",
                [(f"label {label}, {len(places)} inputs", images[places[:SHOWN]]) for label, places in by_label],
            ),
            "clusters": contact_sheet("The first input's label was bought for its whole cluster", clusters),
        }


def _endless(batches: Batches) -> Iterator[Batch]:
    """The batches over and over, newly shuffled at each pass."""
    return chain.from_iterable(repeat(batches))


def _finite(loss: Tensor) -> Tensor:
    """The mean loss of an epoch; raises RepairFailed if it is not a number any more."""
    if not bool(loss.isfinite()):
        raise RepairFailed("the loss is no longer finite")
    return loss
