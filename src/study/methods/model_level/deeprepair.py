"""DeepRepair: style-guided repairing.

Bing Yu, Hua Qi, Qing Guo, Felix Juefei-Xu, Xiaofei Xie, Lei Ma, Jianjun Zhao: DeepRepair: Style-Guided Repairing for
Deep Neural Networks in the Real-World Operational Environment, IEEE Transactions on Reliability, 2021 (arXiv
2011.09884). Written from the authors' code (SaikaQH/DeepRepair) and the abstract. Their style transfer (WCT2) needs a
pretrained network; ours, `haar_wct`, keeps its wavelets and its whitening-colouring and needs none.
Level: model. Needs: images of one or three channels in [0, 1]; failing repair inputs, whose labels only group them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from study.data.split import Batch, Split
from study.errors import NotApplicable
from study.parts.augmentation.drawn_transform import Transform
from study.parts.augmentation.mixing import VIEWS, Mixing, operators_for
from study.parts.augmentation.style import HaarWCT
from study.parts.augmentation.styled_copies import StyledCopies
from study.parts.pictures.styles import style_pictures
from study.parts.selection.random_share import random_share
from study.parts.selection.references import references
from study.parts.training.mixed_training import MixedTraining
from study.parts.training.schedule import cosine_sgd
from study.problem.problem import Problem
from study.problem.recipe import Auto
from study.problem.task import TaskSpec
from study.repairs.approach import Approach, Level, Repair, Repaired
from study.runtime.settings import settings


@settings
class DeepRepair(Approach):
    """Gives training images the style of failing ones and fine-tunes on AugMix views in which such copies take part."""

    level: ClassVar[Level] = "model"
    source: ClassVar[str] = "Yu et al., DeepRepair: Style-Guided Repairing, IEEE Trans. Reliability 2021"

    operator: Literal["haar_wct", "none"] = "haar_wct"
    reference: Literal["random", "medoid"] = "random"
    clusters: Annotated[int, Field(ge=1)] = 5
    failures_per_class: Annotated[int, Field(ge=1)] | None = None
    levels: Annotated[int, Field(ge=0)] | Auto = "auto"
    eps: Annotated[float, Field(gt=0)] = 1e-5
    alpha: Annotated[float, Field(ge=0, le=1)] = 1.0
    width: Annotated[int, Field(ge=1)] = 3
    depth: Annotated[int, Field(ge=1)] = 3
    severity: Annotated[float, Field(ge=0.1, le=10)] = 3.0
    jsd_weight: Annotated[float, Field(ge=0)] = 4.0
    lr: Annotated[float, Field(gt=0, le=10)] = 0.01
    weight_decay: Annotated[float, Field(ge=0)] = 5e-4
    batch_size: Annotated[int, Field(ge=1)] = 64
    epochs: Annotated[int, Field(ge=0)] = 6
    patience: Annotated[int, Field(ge=1)] | None = None
    train_fraction: Annotated[float, Field(gt=0, le=1)] = 1.0

    def check(self, task: TaskSpec) -> None:
        if task.kind != "image":
            raise NotApplicable(f"needs images: the inputs are {task.kind}")
        channels, *sides = task.input_shape
        if channels not in (1, 3):
            raise NotApplicable(f"needs images of 1 or 3 channels: these have {channels}")
        if self.levels != "auto" and 2**self.levels > min(sides):
            raise NotApplicable(f"levels={self.levels} needs images of at least {2**self.levels} pixels a side")

    def repair(self, problem: Problem) -> Repair:
        # Steps 1 to 5: copies of the training images in the style of failing ones, and views in which they take part.
        data = random_share(problem.train, self.train_fraction, problem.stream("train_fraction"))
        copies = None if self.operator == "none" else self._styled_copies(problem, data)
        operators = operators_for(problem.task, replaces=copies is not None)
        mixing = Mixing(width=self.width, depth=self.depth, severity=self.severity, operators=operators)
        # Steps 6 to 9: AugMix's training on the images and these views.
        batches = data.batches(self.batch_size, problem.stream("batches"))
        steps = max(1, self.epochs * len(batches))

        def rank(right: float, fixed: float) -> float:
            """Step 9: the best validation accuracy, ties by the share of failing inputs fixed."""
            return right + fixed / 2 / len(problem.validation)

        model = problem.copy()
        training = MixedTraining(
            problem,
            model,
            batches,
            cosine_sgd(model.parameters(), self.lr, self.weight_decay, steps),
            views=StyledViews(mixing, copies, problem.stream("mixes")),
            jsd_weight=self.jsd_weight,
            failing=problem.repair_set.subset(problem.failing, "failing"),
            rank=rank,
            epochs=self.epochs,
            patience=self.patience,
        )
        yield training
        if copies is None:
            return Repaired(training.model, {"references": 0})
        costs = {"references": len(copies.references)}
        return Repaired(training.model, costs, lambda: style_pictures(copies, mixing, problem.stream("pictures")))

    def _styled_copies(self, problem: Problem, data: Split) -> StyledCopies:
        """Steps 1 to 4: the references, and a styled copy of every training image."""
        indices = references(
            problem.repair_set,
            problem.failing,
            clusters=self.clusters,
            per_class=self.failures_per_class,
            choose=self.reference,
            generator=problem.stream("references"),
            seed=problem.seed_of("references"),
        )
        levels = None if self.levels == "auto" else self.levels
        style = HaarWCT(problem.repair_set.fetch(indices).inputs, levels, self.eps, self.alpha)
        choice = torch.randint(len(indices), (len(data),), generator=problem.stream("styles"))
        chosen = problem.repair_set.subset(indices, "references")
        return StyledCopies(data, chosen, style, choice.to(problem.device))


@dataclass(frozen=True)
class StyledViews:
    """Step 5: two independent mixes of each image, whose chains may start from its styled copy; None: plain AugMix."""

    mixing: Mixing
    copies: StyledCopies | None
    generator: torch.Generator

    def __call__(self, batch: Batch, clean: Tensor, transform: Transform) -> Tensor:
        """[2 B, C, H, W]; the copy is transformed as the image is."""
        copies = None if self.copies is None else transform(self.copies(batch))
        return self.mixing.view(clean, self.generator, copies, VIEWS)
