"""FSGMix, few-shot guided mix (reconstructed).

Xuhong Ren, Bing Yu, Hua Qi, Felix Juefei-Xu, Zhuo Li, Wanli Xue, Lei Ma, Jianjun Zhao: Few-Shot Guided Mix for DNN
Repairing, ICSME 2020. The paper's text was not available: this is a reconstruction from AugMix (arXiv 1912.02781), the
group's follow-up DeepRepair (arXiv 2011.09884) and ArchRepair's use of it as a baseline (10.1145/3585005). What exactly
guides the mix is our construction.
Level: model. Needs: images in [0, 1], as grey levels before normalisation; failing repair inputs with their labels.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

import torch
from pydantic import Field, validate_call
from torch import Tensor, nn
from torch.optim.lr_scheduler import LambdaLR

from study.data.split import Batch, Batches, Split, joined
from study.errors import RepairFailed
from study.parts.augmentation.augmix import draw_mix, mix
from study.parts.augmentation.mixing import VIEWS, cosine_sgd
from study.parts.training.mixed_training import MixedTraining, Transform
from study.parts.training.schedule import chosen_rate, over_steps
from study.problem.prediction import accuracy
from study.problem.problem import Problem
from study.problem.recipe import Auto
from study.repair.approach import Level, Seconds

SGD_LR = 0.01
ROUNDING = 1e-9
"""Accuracies are shares of a count: a loss of exactly `tol` is within the bound."""


class FSGMix(MixedTraining):
    """Mixes each training image with augmented copies of itself and with a failing image of its class, then fine-tunes.

    The network learns clean images by cross-entropy, and to predict the same for a clean image and two such mixes.
    """

    level: ClassVar[Level] = "model"
    source: ClassVar[str] = "Ren et al., Few-Shot Guided Mix for DNN Repairing, ICSME 2020 (reconstructed)"

    @validate_call
    def __init__(
        self,
        *,
        guide: Literal["chain", "operator", "raw", "none"] = "chain",
        guide_class: Literal["same", "any"] = "same",
        shots: Annotated[int, Field(ge=0)] = 0,
        add_failing: bool = True,
        width: Annotated[int, Field(ge=1)] = 3,
        depth: Annotated[int, Field(ge=1)] = 3,
        severity: Annotated[float, Field(ge=0.1, le=10)] = 3.0,
        jsd_weight: Annotated[float, Field(ge=0)] = 4.0,
        optimizer: Literal["adam", "sgd"] | Auto = "auto",
        lr: Annotated[float, Field(gt=0)] | Auto = "auto",
        weight_decay: Annotated[float, Field(ge=0)] = 5e-4,
        batch_size: Annotated[int, Field(ge=1)] | Auto = "auto",
        epochs: Annotated[int, Field(ge=0)] = 4,
        patience: Annotated[int, Field(ge=1)] | None = None,
        tol: Annotated[float, Field(ge=0)] = 0.001,
        train_fraction: Annotated[float, Field(gt=0, le=1)] = 1.0,
        max_seconds: Seconds = None,
    ) -> None:
        super().__init__(
            width=width,
            depth=depth,
            severity=severity,
            replacing=guide == "operator",
            jsd_weight=jsd_weight,
            epochs=epochs,
            patience=patience,
            max_seconds=max_seconds,
        )
        self.guide, self.guide_class, self.shots, self.add_failing = guide, guide_class, shots, add_failing
        self.optimizer, self.lr, self.weight_decay = optimizer, lr, weight_decay
        self.batch_size, self.tol, self.train_fraction = batch_size, tol, train_fraction

    def begin(self, problem: Problem) -> None:
        """Step 1: F, the failing inputs that guide; step 2: the fine-tuning set D'."""
        super().begin(problem)
        self.failing = self.failing.subset(at_most_per_class(self.failing.labels, self.shots, problem.stream("shots")))
        self.guides = Guides.of(self.failing, problem.task.num_classes, self.guide_class == "same")
        parts = [problem.train, self.failing] if self.add_failing else [problem.train]
        size = problem.recipe.batch_size if self.batch_size == "auto" else self.batch_size
        self.loader = Sampled(
            joined("train", parts), int(size), problem.stream("batches"), len(problem.train), self.train_fraction
        )
        self.bound = accuracy(problem.faulty, problem.validation) - self.tol - ROUNDING

    def batches(self) -> Sampled:
        return self.loader

    def views(self, batch: Batch, clean: Tensor, transform: Transform) -> Tensor:
        """Two guided mixes of each image, whose consistency with the clean view is in the `loss` (step 6)."""
        members = batch.indices - len(self.problem.train)
        return self.mixed(clean.repeat(VIEWS, 1, 1, 1), batch.labels.repeat(VIEWS), members.repeat(VIEWS))

    def mixed(self, images: Tensor, labels: Tensor, members: Tensor) -> Tensor:
        """Steps 3 to 5: a guided mix of each of `images` [B, C, H, W] with `labels` [B].

        `members` [B]: the image's place in F, negative if it is not one of them.
        """
        if self.guide == "none":
            return self.mixing.view(images, self.mixes)
        places, guided = self.guides.draw(labels, members, self.mixes)
        guides = self.failing.fetch(places).inputs
        transform = self.transform(guides, self.mixes)
        guides = torch.where(guided[:, None, None, None], transform(guides), images)
        if self.guide == "operator":
            return self.mixing.view(images, self.mixes, replacement=guides)
        own = images.repeat(self.mixing.width, 1, 1, 1)
        if self.guide == "raw":
            chains = torch.cat([self.mixing.chains(own, self.mixes), guides])
        else:
            chains = self.mixing.chains(torch.cat([own, guides]), self.mixes)
        weights, m = draw_mix(len(images), self.mixing.width + 1, self.mixes)
        return mix(images, chains.view(-1, *images.shape), unguided_left_out(weights.to(images), guided), m)

    def configure_optimizers(self) -> Any:
        """Adam (warm-up, then cosine) or AugMix's SGD, whichever trained the faulty model."""
        recipe, parameters = self.problem.recipe, self.model.parameters()
        steps = max(1, self.max_epochs * len(self.loader))
        if (recipe.optimizer if self.optimizer == "auto" else self.optimizer) == "sgd":
            return cosine_sgd(parameters, SGD_LR if self.lr == "auto" else self.lr, self.weight_decay, steps)
        recipe = dataclasses.replace(recipe, optimizer="adam")
        adam = recipe.make_optimizer(parameters, chosen_rate(self.lr, self.model, recipe, "cosine"))
        return {"optimizer": adam, "lr_scheduler": {"scheduler": LambdaLR(adam, over_steps(steps)), "interval": "step"}}

    def select(self, epoch: int) -> float:
        """Step 8: of the epochs that hold the faulty model's validation accuracy, the one with most of F repaired.

        Ties: the higher validation accuracy. An epoch below the bound scores -inf.
        """
        right, fixed = self.evaluated()
        return len(self.failing) * fixed + right / 2 if right >= self.bound else -math.inf

    def repaired(self) -> nn.Module:
        if self._best is not None and self._best[0] == -math.inf:
            raise RepairFailed(
                f"every epoch falls below {self.bound:.4f}, the least validation accuracy that `tol` allows"
            )
        return super().repaired()


@dataclass(frozen=True)
class Guides:
    """F by true label: `table` [classes, most] of places in F, padded; `counts` [classes]; `rank` [F], column of each.

    Where a guide may be of any class there is one row, and every image looks it up.
    """

    table: Tensor
    counts: Tensor
    rank: Tensor
    same_class: bool

    @classmethod
    def of(cls, failing: Split, classes: int, same_class: bool) -> Guides:
        """The guides that the failing inputs make, on their device."""
        rows = failing.labels if same_class else torch.zeros_like(failing.labels)
        counts = torch.bincount(rows, minlength=classes if same_class else 1)
        order = rows.argsort(stable=True)
        starts = counts.cumsum(0) - counts
        rank = torch.empty_like(order)
        rank[order] = torch.arange(len(order), device=order.device) - starts[rows[order]]
        table = torch.zeros(len(counts), int(counts.max()), dtype=torch.int64, device=order.device)
        table[rows, rank] = torch.arange(len(order), device=order.device)
        return cls(table, counts, rank, same_class)

    def draw(self, labels: Tensor, members: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Step 3: the place in F of a guide for each image, [B], and whether there is one, [B] bool.

        A member of F (`members` >= 0: its place) gets another than itself unless it is alone.
        """
        rows = labels if self.same_class else torch.zeros_like(labels)
        counts = self.counts[rows]
        excluded = (members >= 0) & (counts > 1)
        choices = counts - excluded.long()
        chance = torch.rand(len(labels), generator=generator).to(labels.device)
        pick = torch.minimum((chance * choices).long(), choices - 1).clamp(min=0)
        pick = pick + (excluded & (pick >= self.rank[members.clamp(min=0)])).long()
        return self.table[rows, pick], counts > 0


class Sampled(Batches):
    """Batches over D', newly shuffled at each pass: a `fraction` of the first `train` items, all of the others (F)."""

    def __init__(self, split: Split, size: int, generator: torch.Generator, train: int, fraction: float) -> None:
        super().__init__(split, size, generator, drop_last=False, within=None)
        self.train = train
        self.taken = max(1, round(fraction * train))

    @property
    def count(self) -> int:
        return len(self.split) - self.train + self.taken

    def __iter__(self) -> Iterator[Batch]:
        order = torch.randperm(len(self.split), generator=self.generator)
        is_train = order < self.train
        order = order[~is_train | (is_train.cumsum(0) <= self.taken)]
        for indices in self.cut(order):
            yield self.split.fetch(indices)


def at_most_per_class(labels: Tensor, shots: int, generator: torch.Generator) -> Tensor:
    """Indices, ascending, on the CPU, of at most `shots` items of each class at random; of all items if it is 0."""
    if not shots:
        return torch.arange(len(labels))
    order = torch.randperm(len(labels), generator=generator)
    drawn = labels.cpu()[order]
    few = [order[drawn == label][:shots] for label in drawn.unique()]
    return torch.cat(few).sort().values


def unguided_left_out(weights: Tensor, guided: Tensor) -> Tensor:
    """Weights [k + 1, B] with the last, the guide's, left out where an image is not `guided` ([B] bool).

    The others divided by their sum are again a Dirichlet draw.
    """
    weights = torch.cat([weights[:-1], weights[-1:] * guided])
    return weights / weights.sum(dim=0)
