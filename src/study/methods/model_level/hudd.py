"""HUDD: heatmap-based unsupervised debugging of deep neural networks.

Hazem Fahmy, Fabrizio Pastore, Mojtaba Bagherzadeh, Lionel Briand: Supporting Deep Neural Network Safety Analysis and
Retraining Through Heatmap-Based Unsupervised Learning, IEEE Transactions on Reliability 70(4), 2021 (arXiv 2002.00863).
Written from the authors' code (SNTSVV/HUDD-Toolset); where that and the paper leave a choice, conf/method says so.
Level: model. Needs: a network that torch.fx can trace, with a head of Linear layers and a hidden layer.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

import torch
from pydantic import Field, validate_call
from torch import Tensor
from torch.nn import functional

from study.data.split import Batch, Batches, joined
from study.errors import RepairFailed
from study.parts.localisation.relevance import Relevance, coloured
from study.parts.pictures.contact_sheet import contact_sheet
from study.parts.selection.root_causes import distances_to_errors, root_causes
from study.parts.selection.unsafe_set import (
    balanced_bag,
    capped,
    quotas,
    random_bag,
    to_clusters,
    unsafe_sets,
)
from study.problem.problem import Problem, TaskSpec
from study.problem.recipe import Auto
from study.repair.approach import FineTuning, Level, Log, Seconds

SHOWN_CLUSTERS, SHOWN_MEMBERS = 12, 10
"""Of the picture."""


class HUDD(FineTuning):
    """Clusters failing inputs by what the network looked at, adds inputs like them to the training set, and trains on.

    Hyperparameters: see conf/method/hudd.yaml.
    """

    level: ClassVar[Level] = "model"
    source: ClassVar[str] = "Fahmy et al., Heatmap-Based Unsupervised Learning (HUDD), IEEE Trans. Reliability 2021"

    @validate_call
    def __init__(
        self,
        *,
        layers: Annotated[int, Field(ge=1)] | Literal["all"] = 4,
        layer_norm: Literal["max", "none"] = "max",
        pool: Annotated[int, Field(ge=1)] | None = None,
        max_clusters: Annotated[int, Field(ge=2)] = 30,
        factor: Annotated[float, Field(gt=0)] = 2.0,
        improvement: Literal["repair", "repair_passing", "holdout"] = "repair",
        balance: bool = True,
        bag: Literal["clusters", "random", "failing"] = "clusters",
        max_bag_ratio: Annotated[float, Field(gt=0)] = 1.0,
        lr: Annotated[float, Field(gt=0, le=10)] = 0.01,
        momentum: Annotated[float, Field(ge=0, lt=1)] = 0.9,
        weight_decay: Annotated[float, Field(ge=0)] = 5e-4,
        batch_size: Annotated[int, Field(ge=1)] | Auto = "auto",
        epochs: Annotated[int, Field(ge=0)] = 10,
        select: Literal["train", "validation"] = "train",
        max_seconds: Seconds = None,
    ) -> None:
        super().__init__(max_seconds=max_seconds)
        self.layers, self.layer_norm, self.pool, self.max_clusters = layers, layer_norm, pool, max_clusters
        self.factor, self.improvement, self.balance = factor, improvement, balance
        self.bag, self.max_bag_ratio = bag, max_bag_ratio
        self.lr, self.momentum, self.weight_decay = lr, momentum, weight_decay
        self.batch_size, self.passes, self.kept = batch_size, epochs, select
        self._counts = dict[str, int]()

    def check(self, task: TaskSpec) -> None:
        shape = (2, *task.input_shape)
        example = torch.linspace(0, 1, math.prod(shape)).reshape(shape)
        Relevance(task.model)(example.long() if task.kind == "tokens" else example)

    @property
    def epochs(self) -> int:
        return self.passes

    def begin(self, problem: Problem) -> None:
        """Steps 1 to 8: the clusters, their unsafe sets, and the bag that joins the training set."""
        super().begin(problem)
        self.relevance = Relevance(problem.faulty, None if self.layers == "all" else self.layers)
        errors, improvement = self._roles()
        self.causes = root_causes(
            self.relevance,
            problem.repair_set,
            errors,
            most=self.max_clusters,
            scaled=self.layer_norm == "max",
            pool=self.pool,
        )
        self.chosen = self._filled_bag(errors, improvement)
        self.data = joined("train_and_bag", [problem.train, problem.repair_set.subset(self.chosen)])
        self.draws = problem.stream("augmentation")
        self._counts = {
            "labels": len(self.chosen.unique()),
            "bag": len(self.chosen),
            "clusters": self.causes.count,
            "excluded": self.causes.excluded,
        }
        self._start_counting()

    def _roles(self) -> tuple[Tensor, Tensor]:
        """E, the error-inducing inputs, and S, the improvement set: indices into the repair split."""
        problem = self.problem
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

    def _filled_bag(self, errors: Tensor, improvement: Tensor) -> Tensor:
        """Steps 6 to 8, or a control of the same size: indices into the repair split, repeated."""
        causes, generator = self.causes, self.problem.stream("bag")
        distances = distances_to_errors(self.relevance, self.problem.repair_set, improvement, causes, self.pool)
        most = quotas(causes.labels, self.factor)
        sets = unsafe_sets(to_clusters(distances, causes.labels), most)
        places = balanced_bag(sets, int(most.max()) if self.balance else 0, generator)
        places = capped(places, int(self.max_bag_ratio * len(self.problem.train)), generator)
        if self.bag == "clusters":
            return improvement[places]
        distinct = sum(len(member.places) for member in sets)
        return random_bag(errors if self.bag == "failing" else improvement, distinct, len(places), generator)

    def batches(self) -> Batches:
        size = int(self.problem.recipe.batch_size) if self.batch_size == "auto" else self.batch_size
        return self.data.batches(size, self.problem.stream("batches"))

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(
            self.model.parameters(), self.lr, momentum=self.momentum, weight_decay=self.weight_decay, fused=True
        )

    def on_train_start(self) -> None:
        """The curve whose knee is the number of clusters."""
        if (cut := self.causes.cut) is not None:
            for number, within in zip(cut.numbers.tolist(), cut.within.tolist(), strict=True):
                self.record({"clusters/within": within}, number)

    def loss(self, batch: Batch) -> Tensor:
        """Step 9: cross-entropy; counts what is right on the way."""
        logits = self.model(self.problem.recipe.augmented(batch.inputs, self.draws))
        self._right += (logits.detach().argmax(1) == batch.labels).sum()
        return functional.cross_entropy(logits, batch.labels)

    def _start_counting(self) -> None:
        self._right = torch.zeros((), dtype=torch.int64, device=self.problem.device)

    def select(self, epoch: int) -> float | None:
        """The best accuracy on the data just trained on, as it was during the epoch, or on validation."""
        validation = super().select(epoch)
        training = int(self._right) / len(self.data)
        self.record({"train/accuracy": training}, self._taken)
        self._start_counting()
        return training if self.kept == "train" else validation

    def costs(self) -> Log:
        return {**super().costs(), **self._counts}

    def pictures(self) -> Mapping[str, Any]:
        """The clusters, each input above its heatmap."""
        if self.problem.task.kind != "image":
            return {}
        rows = list[tuple[str, Tensor]]()
        for cluster in range(min(self.causes.count, SHOWN_CLUSTERS)):
            members = self.causes.errors[self.causes.labels == cluster]
            images = self.problem.repair_set.fetch(members[:SHOWN_MEMBERS]).inputs
            pixels = self.relevance(images).pixels
            assert pixels is not None
            rows += [(f"cluster {cluster + 1}: {len(members)} inputs", images), ("relevance", coloured(pixels))]
        title = f"Root cause clusters at {self.relevance.names[self.causes.layer]} (red: speaks for the wrong answer)"
        return {"clusters": contact_sheet(title, rows)}
