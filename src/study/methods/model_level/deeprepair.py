"""DeepRepair: style-guided repairing.

Bing Yu, Hua Qi, Qing Guo, Felix Juefei-Xu, Xiaofei Xie, Lei Ma, Jianjun Zhao: DeepRepair: Style-Guided Repairing for
Deep Neural Networks in the Real-World Operational Environment, IEEE Transactions on Reliability, 2021 (arXiv
2011.09884).
Written from the authors' code (SaikaQH/DeepRepair) and the abstract. Their style transfer (WCT2) needs a pretrained
network; ours, `haar_wct`, keeps its wavelets and its whitening-colouring and needs none (parts/style.py).
Level: model. Needs: images of one or three channels in [0, 1]; failing repair inputs, whose labels only group them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

import torch
from pydantic import Field, validate_call
from torch import Tensor

from study.data.split import Batch, Batches, Split
from study.errors import NotApplicable
from study.parts.augmentation.augmix import to_float, to_uint8
from study.parts.augmentation.mixing import VIEWS, cosine_sgd
from study.parts.augmentation.style import BATCH, HaarWCT
from study.parts.pictures.contact_sheet import contact_sheet
from study.parts.selection.references import references
from study.parts.training.mixed_training import MixedTraining, Transform
from study.problem.problem import Problem, TaskSpec
from study.problem.recipe import Auto
from study.repair.approach import Level, Log, Seconds

SHOWN, SHOWN_CLASSES = 10, 20
"""Of the pictures: images in a row, and rows."""


class DeepRepair(MixedTraining):
    """Gives training images the style of failing ones and fine-tunes on AugMix views in which such copies take part.

    Hyperparameters: see conf/method/deeprepair.yaml.
    """

    level: ClassVar[Level] = "model"
    source: ClassVar[str] = "Yu et al., DeepRepair: Style-Guided Repairing, IEEE Trans. Reliability 2021"

    @validate_call
    def __init__(
        self,
        *,
        operator: Literal["haar_wct", "none"] = "haar_wct",
        reference: Literal["random", "medoid"] = "random",
        clusters: Annotated[int, Field(ge=1)] = 5,
        failures_per_class: Annotated[int, Field(ge=1)] | None = None,
        levels: Annotated[int, Field(ge=0)] | Auto = "auto",
        eps: Annotated[float, Field(gt=0)] = 1e-5,
        alpha: Annotated[float, Field(ge=0, le=1)] = 1.0,
        width: Annotated[int, Field(ge=1)] = 3,
        depth: Annotated[int, Field(ge=1)] = 3,
        severity: Annotated[float, Field(ge=0.1, le=10)] = 3.0,
        jsd_weight: Annotated[float, Field(ge=0)] = 4.0,
        lr: Annotated[float, Field(gt=0, le=10)] = 0.01,
        weight_decay: Annotated[float, Field(ge=0)] = 5e-4,
        batch_size: Annotated[int, Field(ge=1)] = 64,
        epochs: Annotated[int, Field(ge=0)] = 6,
        patience: Annotated[int, Field(ge=1)] | None = None,
        train_fraction: Annotated[float, Field(gt=0, le=1)] = 1.0,
        max_seconds: Seconds = None,
    ) -> None:
        super().__init__(
            width=width,
            depth=depth,
            severity=severity,
            replacing=operator != "none",
            jsd_weight=jsd_weight,
            epochs=epochs,
            patience=patience,
            max_seconds=max_seconds,
        )
        self.styled = operator != "none"
        self.reference, self.clusters, self.failures_per_class = reference, clusters, failures_per_class
        self.levels, self.eps, self.alpha = levels, eps, alpha
        self.lr, self.weight_decay, self.batch_size, self.train_fraction = lr, weight_decay, batch_size, train_fraction
        self._references = 0

    def check(self, task: TaskSpec) -> None:
        super().check(task)
        channels, *sides = task.input_shape
        if channels not in (1, 3):
            raise NotApplicable(f"needs images of 1 or 3 channels: these have {channels}")
        if self.levels != "auto" and 2**self.levels > min(sides):
            raise NotApplicable(f"levels={self.levels} needs images of at least {2**self.levels} pixels a side")

    def begin(self, problem: Problem) -> None:
        """Steps 1 to 4: the references, and a styled copy of every training image, made once."""
        super().begin(problem)
        self.data = _share(problem.train, self.train_fraction, problem.stream("train_fraction"))
        if self.styled:
            self.references = problem.repair_set.subset(self._chosen(), "references")
            self.style = HaarWCT(
                _all(self.references),
                None if self.levels == "auto" else self.levels,
                self.eps,
                self.alpha,
            )
            self._references = len(self.references)
            choice = torch.randint(len(self.references), (len(self.data),), generator=problem.stream("styles"))
            self.choice = choice.to(problem.device)
            self.stored = self._stored()

    def _chosen(self) -> Tensor:
        return references(
            self.problem.repair_set,
            self.problem.failing,
            clusters=self.clusters,
            per_class=self.failures_per_class,
            choose=self.reference,
            generator=self.problem.stream("references"),
            seed=self.problem.seed_of("references"),
        )

    def _stored(self) -> Tensor | None:
        """The copies of all training images, uint8; None where the images themselves do not lie in memory."""
        if not isinstance(self.data.inputs, Tensor):
            return None
        return torch.cat([self._made(batch) for batch in self.data.batches(BATCH)])

    def _made(self, batch: Batch) -> Tensor:
        """S(x) = clip(style(x, r(x)), 0, 1) for each image of a batch, as grey levels."""
        return to_uint8(self.style(batch.inputs, self.choice[batch.indices]))

    def copies(self, batch: Batch) -> Tensor:
        """The styled copies of a batch, [B, C, H, W] in [0, 1]."""
        return to_float(self._made(batch) if self.stored is None else self.stored[batch.indices])

    def batches(self) -> Batches:
        return self.data.batches(self.batch_size, self.problem.stream("batches"))

    def views(self, batch: Batch, clean: Tensor, transform: Transform) -> Tensor:
        """Step 5: two independent mixes of each image, whose chains may start from the styled copy; [2 B, C, H, W].

        The copy is transformed as the image is. Step 6, the consistency of the three, is the `loss`.
        """
        copies = transform(self.copies(batch)).repeat(VIEWS, 1, 1, 1) if self.styled else None
        return self.mixing.view(clean.repeat(VIEWS, 1, 1, 1), self.mixes, copies)

    def configure_optimizers(self) -> Any:
        steps = max(1, self.max_epochs * len(self.batches()))
        return cosine_sgd(self.model.parameters(), self.lr, self.weight_decay, steps)

    def select(self, epoch: int) -> float:
        """Steps 8 and 9: best validation accuracy, ties by what is right of the failing inputs; stop by the loss."""
        right, fixed = self.evaluated()
        return right + fixed / 2 / len(self.problem.validation)

    def costs(self) -> Log:
        return {**super().costs(), "references": self._references}

    def pictures(self) -> Mapping[str, Any]:
        """The references by class, and training images beside their copies and views."""
        if not self.styled:
            return {}
        labels, inputs = self.references.labels, _all(self.references)
        rows = [(f"class {label}", inputs[labels == label][:SHOWN]) for label in labels.unique().tolist()]
        batch = self.data.fetch(torch.arange(min(SHOWN, len(self.data))))
        styled = self.copies(batch)
        example = self.mixing.view(batch.inputs, self.problem.stream("pictures"), styled)
        copies = [
            ("training image", batch.inputs),
            ("its reference", inputs[self.choice[batch.indices]]),
            ("styled copy", styled),
            ("mixed view", example),
        ]
        return {
            "references": contact_sheet("Failing repair inputs that give their style", rows[:SHOWN_CLASSES]),
            "copies": contact_sheet("Training images in the style of failing ones", copies),
        }


def _share(train: Split, fraction: float, generator: torch.Generator) -> Split:
    """A random share of the training split, the same in every epoch."""
    if fraction == 1:
        return train
    order = torch.randperm(len(train), generator=generator)
    return train.subset(order[: max(1, round(fraction * len(train)))].sort().values)


def _all(split: Split) -> Tensor:
    """The inputs of a small split, wherever they lie."""
    return split.fetch(torch.arange(len(split))).inputs
