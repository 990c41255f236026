"""HUDD: heatmap-based unsupervised debugging of deep neural networks.

Hazem Fahmy, Fabrizio Pastore, Mojtaba Bagherzadeh, Lionel Briand: Supporting Deep Neural Network Safety Analysis and
Retraining Through Heatmap-Based Unsupervised Learning, IEEE Transactions on Reliability 70(4), 2021 (arXiv 2002.00863).
Written from the authors' code (SNTSVV/HUDD-Toolset); where that and the paper leave a choice, conf/method says so.
Level: model. Needs: a network that torch.fx can trace, with a head of Linear layers and a hidden layer.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from study.data.split import joined
from study.errors import RepairFailed
from study.parts.localisation.relevance import Relevance, coloured
from study.parts.pictures.contact_sheet import contact_sheet
from study.parts.selection.root_causes import RootCauses, distances_to_errors, root_causes
from study.parts.selection.unsafe_set import balanced_bag, capped, quotas, random_bag, to_clusters, unsafe_sets
from study.parts.training.running_accuracy import RunningAccuracyTraining
from study.problem.problem import Problem
from study.problem.recipe import Auto
from study.problem.task import TaskSpec
from study.repairs.approach import Approach, Level, Repair, Repaired
from study.runtime.settings import settings

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SHOWN_CLUSTERS, SHOWN_MEMBERS = 12, 10
"""Of the picture."""


@settings
class HUDD(Approach):
    """Clusters failing inputs by what the network looked at, adds inputs like them to the training set, and trains on.

    Hyperparameters: see conf/method/hudd.yaml.
    """

    level: ClassVar[Level] = "model"
    source: ClassVar[str] = "Fahmy et al., Heatmap-Based Unsupervised Learning (HUDD), IEEE Trans. Reliability 2021"

    layers: Annotated[int, Field(ge=1)] | Literal["all"] = 4
    layer_norm: Literal["max", "none"] = "max"
    pool: Annotated[int, Field(ge=1)] | None = None
    max_clusters: Annotated[int, Field(ge=2)] = 30
    factor: Annotated[float, Field(gt=0)] = 2.0
    improvement: Literal["repair", "repair_passing", "holdout"] = "repair"
    balance: bool = True
    bag: Literal["clusters", "random", "failing"] = "clusters"
    max_bag_ratio: Annotated[float, Field(gt=0)] = 1.0
    lr: Annotated[float, Field(gt=0, le=10)] = 0.01
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.9
    weight_decay: Annotated[float, Field(ge=0)] = 5e-4
    batch_size: Annotated[int, Field(ge=1)] | Auto = "auto"
    epochs: Annotated[int, Field(ge=0)] = 10
    select: Literal["train", "validation"] = "train"

    def check(self, task: TaskSpec) -> None:
        Relevance(task.model)(task.example(2))

    def repair(self, problem: Problem) -> Repair:
        # Steps 1 to 5: clusters of the error-inducing inputs, at the layer whose heatmaps form the tightest ones.
        relevance = Relevance(problem.faulty, None if self.layers == "all" else self.layers)
        errors, improvement = self.roles(problem)
        scaled = self.layer_norm == "max"
        causes = root_causes(
            relevance, problem.repair_set, errors, max_clusters=self.max_clusters, scaled=scaled, pool=self.pool
        )
        for count, distance in causes.curve:  # the knee of its gradient is the number of clusters
            yield {"clusters/within": distance, "step": count}

        # Steps 6 to 8: the unsafe set, balanced over the clusters.
        bag = self.filled_bag(problem, relevance, causes, errors, improvement)
        costs = {"labels": len(bag.unique()), "bag": len(bag), "clusters": causes.count, "excluded": causes.excluded}

        # Step 9: training goes on with the bag in the training set.
        data = joined("train_and_bag", [problem.train, problem.repair_set.subset(bag)])
        model = problem.copy()
        size = int(problem.recipe.batch_size) if self.batch_size == "auto" else self.batch_size
        optimizer = torch.optim.SGD(
            model.parameters(), self.lr, self.momentum, weight_decay=self.weight_decay, fused=True
        )
        training = RunningAccuracyTraining(
            model,
            data.batches(size, problem.stream("batches")),
            optimizer,
            max_epochs=self.epochs,
            validation=problem.validation,
            augment=partial(problem.recipe.augmented, generator=problem.stream("augmentation")),
            keep=self.select,
        )
        yield training
        return Repaired(training.model, costs, lambda: pictures(problem, relevance, causes))

    def roles(self, problem: Problem) -> tuple[Tensor, Tensor]:
        """E, the error-inducing inputs, and S, the improvement set: indices into the repair split."""
        errors, improvement = problem.failing, torch.arange(len(problem.repair_set), device=problem.device)
        if self.improvement == "repair_passing":
            improvement = problem.passing
        elif self.improvement == "holdout":
            order = torch.randperm(len(improvement), generator=problem.stream("holdout")).to(problem.device)
            by_class = order[problem.repair_set.labels[order].argsort(stable=True)]
            errors, improvement = errors[torch.isin(errors, by_class[::2])], by_class[1::2].sort().values
        if not len(errors) or not len(improvement):
            raise RepairFailed(f"improvement={self.improvement} leaves no failing input or nothing to choose from")
        return errors, improvement

    def filled_bag(
        self, problem: Problem, relevance: Relevance, causes: RootCauses, errors: Tensor, improvement: Tensor
    ) -> Tensor:
        """Steps 6 to 8, or a control of the same size: indices into the repair split, repeated."""
        generator = problem.stream("bag")
        distances = distances_to_errors(relevance, problem.repair_set, improvement, causes, self.pool)
        limits = quotas(causes.labels, self.factor)
        sets = unsafe_sets(to_clusters(distances, causes.labels), limits)
        indices = balanced_bag(sets, int(limits.max()) if self.balance else 0, generator)
        indices = capped(indices, int(self.max_bag_ratio * len(problem.train)), generator)
        if self.bag == "clusters":
            return improvement[indices]
        distinct = sum(len(each.indices) for each in sets)
        return random_bag(errors if self.bag == "failing" else improvement, distinct, len(indices), generator)


def pictures(problem: Problem, relevance: Relevance, causes: RootCauses) -> Mapping[str, Figure]:
    """The clusters, each input above its heatmap."""
    if problem.task.kind != "image":
        return {}
    rows = list[tuple[str, Tensor]]()
    for cluster in range(min(causes.count, SHOWN_CLUSTERS)):
        members = causes.errors[causes.labels == cluster]
        images = problem.repair_set.fetch(members[:SHOWN_MEMBERS]).inputs
        pixels = relevance(images).pixels
        assert pixels is not None
        rows += [(f"cluster {cluster + 1}: {len(members)} inputs", images), ("relevance", coloured(pixels))]
    title = f"Root cause clusters at {relevance.names[causes.layer]} (red: speaks for the wrong answer)"
    return {"clusters": contact_sheet(title, rows)}
