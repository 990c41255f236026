"""FSGMix, few-shot guided mix (reconstructed).

Xuhong Ren, Bing Yu, Hua Qi, Felix Juefei-Xu, Zhuo Li, Wanli Xue, Lei Ma, Jianjun Zhao: Few-Shot Guided Mix for DNN
Repairing, ICSME 2020. Its text was not available: reconstructed from AugMix (arXiv 1912.02781), the group's follow-up
DeepRepair (arXiv 2011.09884) and ArchRepair, where it is a baseline (10.1145/3585005); the guide is our construction.
Level: model. Needs: images in [0, 1], as grey levels before normalisation; failing repair inputs with their labels.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Annotated, Any, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from study.data.split import Batch, joined
from study.errors import NotApplicable, RepairFailed
from study.parts.augmentation.drawn_transform import Transform
from study.parts.augmentation.guided_mix import guided_mix
from study.parts.augmentation.mixing import VIEWS, Mixing, operators_for
from study.parts.selection.few_per_class import few_per_class
from study.parts.selection.guides import Guides
from study.parts.training.mixed_training import MixedTraining
from study.parts.training.sampled import Sampled
from study.parts.training.schedule import chosen_rate, cosine_sgd, over_steps, with_schedule
from study.problem.augmentation import Augmentation
from study.problem.prediction import accuracy
from study.problem.problem import Problem
from study.problem.recipe import Auto, Recipe
from study.problem.task import TaskSpec
from study.repairs.approach import Approach, Level, Repair, Repaired
from study.runtime.settings import settings

SGD_LR = 0.01
ROUNDING = 1e-9  # accuracies are shares of a count: a loss of exactly `tol` is within the bound
Guide = Literal["chain", "operator", "raw", "none"]


@settings
class FSGMix(Approach):
    """Mixes each training image with augmented copies of itself and with a failing image of its class; fine-tunes on
    clean images by cross-entropy, and to predict the same for a clean image and two such mixes."""

    level: ClassVar[Level] = "model"
    source: ClassVar[str] = "Ren et al., Few-Shot Guided Mix for DNN Repairing, ICSME 2020 (reconstructed)"

    guide: Guide = "chain"
    guide_class: Literal["same", "any"] = "same"
    shots: Annotated[int, Field(ge=0)] = 0
    add_failing: bool = True
    width: Annotated[int, Field(ge=1)] = 3
    depth: Annotated[int, Field(ge=1)] = 3
    severity: Annotated[float, Field(ge=0.1, le=10)] = 3.0
    jsd_weight: Annotated[float, Field(ge=0)] = 4.0
    optimizer: Literal["adam", "sgd"] | Auto = "auto"
    lr: Annotated[float, Field(gt=0)] | Auto = "auto"
    weight_decay: Annotated[float, Field(ge=0)] = 5e-4
    batch_size: Annotated[int, Field(ge=1)] | Auto = "auto"
    epochs: Annotated[int, Field(ge=0)] = 4
    patience: Annotated[int, Field(ge=1)] | None = None
    tol: Annotated[float, Field(ge=0)] = 0.001
    train_fraction: Annotated[float, Field(gt=0, le=1)] = 1.0

    def check(self, task: TaskSpec) -> None:
        if task.kind != "image":
            raise NotApplicable(f"needs images: the inputs are {task.kind}")

    def repair(self, problem: Problem) -> Repair:
        # Steps 1 and 2: F, the failing inputs that guide, and the fine-tuning set D'.
        failing = problem.repair_set.subset(problem.failing, "failing")
        failing = failing.subset(few_per_class(failing.labels, self.shots, problem.stream("shots")))
        data = joined("train", [problem.train, failing] if self.add_failing else [problem.train])
        size = problem.recipe.batch_size if self.batch_size == "auto" else self.batch_size
        batches = Sampled(data, int(size), problem.stream("batches"), len(problem.train), self.train_fraction)
        operators = operators_for(problem.task, replaces=self.guide == "operator")
        views = GuidedViews(
            guide=self.guide,
            guides=Guides.of(failing, problem.task.num_classes, self.guide_class == "same"),
            mixing=Mixing(width=self.width, depth=self.depth, severity=self.severity, operators=operators),
            augmentation=problem.recipe.transform,
            generator=problem.stream("mixes"),
            train_size=len(problem.train),
        )
        bound = accuracy(problem.faulty, problem.validation) - self.tol - ROUNDING

        def rank(right: float, fixed: float) -> float:
            """Step 8: most of F repaired, ties by validation accuracy, among the epochs that hold the bound."""
            return len(failing) * fixed + right / 2 if right >= bound else -math.inf

        model = problem.copy()
        training = MixedTraining(
            problem,
            model,
            batches,
            self._optimization(problem.recipe, model, steps=max(1, self.epochs * len(batches))),
            views=views,
            jsd_weight=self.jsd_weight,
            failing=failing,
            rank=rank,
            epochs=self.epochs,
            patience=self.patience,
        )
        yield training
        if training.best.score == -math.inf:
            raise RepairFailed(f"every epoch falls below {bound:.4f}, the least validation accuracy that `tol` allows")
        return Repaired(training.model)

    def _optimization(self, recipe: Recipe, model: nn.Module, steps: int) -> Any:
        """Adam (warm-up, then cosine) or AugMix's SGD, whichever trained the faulty model."""
        if (recipe.optimizer if self.optimizer == "auto" else self.optimizer) == "sgd":
            return cosine_sgd(model.parameters(), SGD_LR if self.lr == "auto" else self.lr, self.weight_decay, steps)
        recipe = replace(recipe, optimizer="adam")
        adam = recipe.make_optimizer(model.parameters(), chosen_rate(self.lr, model, recipe, "cosine"))
        return with_schedule(adam, over_steps(steps))


@dataclass(frozen=True, kw_only=True)
class GuidedViews:
    """Steps 3 to 5: two mixes of each image with augmented copies of itself and with a guide, a failing input.

    guide: how this enters the mix; guides: F; train_size: training inputs in D', in front of F.
    """

    guide: Guide
    guides: Guides
    mixing: Mixing
    augmentation: Augmentation | None
    generator: torch.Generator
    train_size: int

    def __call__(self, batch: Batch, clean: Tensor, _: Transform) -> Tensor:
        members = batch.indices - self.train_size
        return self.mixed(clean.repeat(VIEWS, 1, 1, 1), batch.labels.repeat(VIEWS), members.repeat(VIEWS))

    def mixed(self, images: Tensor, labels: Tensor, members: Tensor) -> Tensor:
        """A guided mix of each of `images` [B, C, H, W] with `labels` [B]; `members` [B]: index in F, or negative."""
        if self.guide == "none":
            return self.mixing.view(images, self.generator)
        indices, guided = self.guides.draw(labels, members, self.generator)
        guides = self.guides.images(indices, self.augmentation, self.generator)
        guides = torch.where(guided[:, None, None, None], guides, images)
        if self.guide == "operator":
            return self.mixing.view(images, self.generator, replacement=guides)
        return guided_mix(self.mixing, images, guides, guided, self.generator, raw=self.guide == "raw")
