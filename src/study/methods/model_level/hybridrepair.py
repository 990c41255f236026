"""HybridRepair: a few bought labels, propagated within clusters, and the rest of the pool without labels (model level).

Yu Li, Muxi Chen, Qiang Xu: HybridRepair: Towards Annotation-Efficient Repair for Deep Learning Models, ISSTA 2022,
doi 10.1145/3533767.3534408. Written from the description of its released code (cure-lab/HybridRepair); the clusters
are found among the faulty network's own penultimate features, as that code offers beside MoCo v3's.
Needs images and a last Linear layer. It never asks which repair inputs fail, and buys each label it reads.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from study.data.split import Split
from study.errors import NotApplicable, RepairFailed
from study.parts.augmentation.mixing import Mixing, operators_for
from study.parts.augmentation.views import Views
from study.parts.network.activations import penultimate
from study.parts.pictures.purchase import purchase_sheets
from study.parts.selection.label_budget import (
    NONE,
    Purchase,
    Selection,
    affordable,
    clustered,
    most_uncertain,
    most_uncertain_clusters,
    one_by_one,
)
from study.parts.selection.uncertainty import relative, threshold, view_entropy
from study.parts.training.mixmatch import MixMatchSettings
from study.parts.training.partly_labelled import PartlyLabelled
from study.parts.training.validation import validated
from study.problem.prediction import predict
from study.problem.problem import Problem
from study.problem.task import TaskSpec
from study.repairs.approach import Approach, Level, Repair, Repaired
from study.runtime.best_state import BestState
from study.runtime.settings import settings


@settings
class HybridRepair(Approach):
    """Buys labels where uncertainty clusters, then alternates supervised and MixMatch-like epochs."""

    level: ClassVar[Level] = "model"
    source: ClassVar[str] = "Li, Chen, Xu: HybridRepair, ISSTA 2022"

    budget_percent: Annotated[float, Field(gt=0)] = 10.0
    labels: Literal["uncertain_clusters", "uncertain", "random"] = "uncertain_clusters"
    views: Annotated[int, Field(ge=1)] = 4
    severity: Annotated[float, Field(ge=0.1, le=10)] = 3.0
    min_samples: Annotated[int, Field(ge=1)] = 3
    min_cluster_size: Annotated[int, Field(ge=2)] = 5
    average_cluster_size: Annotated[int, Field(ge=1)] = 10
    tau_neighbours: Annotated[int, Field(ge=1)] = 100
    tau_points: Annotated[int, Field(ge=1)] = 1000
    lr: Annotated[float, Field(gt=0)] = 0.01
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.9
    weight_decay: Annotated[float, Field(ge=0)] = 5e-4
    batch_size: Annotated[int, Field(ge=1)] = 64
    train_subset: Literal["right", "all"] = "all"
    warm_epochs: Annotated[int, Field(ge=0)] = 6
    epochs: Annotated[int, Field(ge=0)] = 6
    ssl: bool = True
    max_ssl_steps: Annotated[int, Field(ge=1)] | None = 50
    lambda_u: Annotated[float, Field(ge=0)] = 100.0
    temperature: Annotated[float, Field(gt=0, le=1)] = 0.5
    mixup_alpha: Annotated[float, Field(gt=0)] = 0.75
    smoothing: Annotated[float, Field(ge=0, lt=0.5)] = 0.1
    select: Literal["validation", "entropy"] = "validation"

    def check(self, task: TaskSpec) -> None:
        if task.kind != "image":
            raise NotApplicable(f"needs images: the inputs are {task.kind}")
        if task.num_classes < 2:
            raise NotApplicable("needs at least two classes")
        if not any(isinstance(module, nn.Linear) for module in task.model.modules()):
            raise NotApplicable("clusters what enters the last Linear layer: the network has none")

    def repair(self, problem: Problem) -> Repair:
        if not len(problem.train):
            raise NotApplicable("needs training inputs: there are none")
        model, validation, inputs = problem.copy(), problem.validation, problem.pool.inputs()
        mixing = Mixing(width=1, severity=self.severity, operators=operators_for(problem.task))
        views = Views(mixing, self.views, problem.stream("views"))  # step 1
        pool = Split("pool", inputs, torch.full((len(inputs),), NONE, device=inputs.device))
        uncertainty = relative(view_entropy(model, pool, views))  # step 2
        held_out = relative(view_entropy(model, validation, views)), predict(model, validation)
        tau = threshold(*held_out, predict(model, problem.train), self.tau_neighbours, self.tau_points)  # step 4
        purchase = self._purchase(problem, model, pool, uncertainty)  # steps 3, 5 and 6
        pool = Split("pool", inputs, purchase.propagated(problem.pool.reveal(purchase.bought)))
        selection = Selection(pool.labels, trusted=uncertainty <= tau)  # step 7
        costs = {"labels": len(problem.pool.revealed)}
        yield {"pool/labelled": len(selection.labelled), "pool/trusted": selection.trusted.sum()}

        sgd = torch.optim.SGD(model.parameters(), self.lr, self.momentum, weight_decay=self.weight_decay, fused=True)
        mixmatch = MixMatchSettings(
            temperature=self.temperature, alpha=self.mixup_alpha, weight=self.lambda_u, smoothing=self.smoothing
        )
        trainings = PartlyLabelled(problem, model, pool, sgd, views, mixmatch, self.batch_size)
        for epoch in range(1, self.warm_epochs + 1):  # step 8
            warm = trainings.plain(trainings.learnt(self.train_subset, **costs))
            yield warm
            yield {"step": epoch, "loss/warm": warm.finite_loss(**costs)} | validated(model, validation)

        weights, best = selection.weights(uncertainty), BestState()
        for epoch in range(self.warm_epochs + 1, self.warm_epochs + self.epochs + 1):  # step 9
            learnt = trainings.learnt(self.train_subset, **costs)
            steps = trainings.steps(learnt, self.max_ssl_steps)
            supervised = trainings.supervised(learnt)
            yield supervised  # step 9a
            log = {"step": epoch, "loss/supervised": supervised.finite_loss(**costs)}
            second = trainings.mixmatch(learnt, weights, steps) if self.ssl else trainings.supervised(learnt, steps)
            yield second  # step 9b
            log["loss/semi" if self.ssl else "loss/instead"] = second.finite_loss(**costs)
            entropy = view_entropy(model, pool, views)  # step 9c
            weights = selection.weights(relative(entropy))
            log |= {"pool/entropy": float(entropy.sum())} | validated(model, validation)
            best.offer(-log["pool/entropy"] if self.select == "entropy" else log["validation/accuracy"], model)
            yield log
        best.restore(model)  # step 10
        return Repaired(model, costs, lambda: purchase_sheets(inputs, purchase, pool.labels))

    def _purchase(self, problem: Problem, model: nn.Module, pool: Split, uncertainty: Tensor) -> Purchase:
        """Steps 3, 5 and 6: the labels to buy; as controls those of the most uncertain inputs, or of random ones."""
        size, generator = len(pool), problem.stream("labels")
        budget = affordable(self.budget_percent, size)
        if not budget:
            raise RepairFailed(
                f"{self.budget_percent:g} % of the {size} repair inputs buy not a single label", labels=0
            )
        if self.labels == "uncertain":
            return one_by_one(most_uncertain(uncertainty, budget), size)
        if self.labels == "random":
            return one_by_one(torch.randperm(size, generator=generator)[:budget].to(uncertainty.device), size)
        clusters = clustered(
            penultimate(model, pool),
            budget,
            min_samples=self.min_samples,
            min_cluster_size=self.min_cluster_size,
            average_size=self.average_cluster_size,
            seed=problem.seed_of("clusters"),
        )
        return most_uncertain_clusters(clusters, uncertainty, budget, generator)
