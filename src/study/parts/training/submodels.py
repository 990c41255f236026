"""Sub-models: networks of the faulty model's architecture, each trained on a small part of the training split."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from study.data.split import Split
from study.parts.selection.balanced_subset import balanced_subset
from study.parts.training.stacked import OneByOne, Stacked, pays_off
from study.parts.training.weight_shift import flat_weights
from study.problem.prediction import accuracy
from study.problem.problem import Problem
from study.problem.recipe import Auto
from study.runtime.fit import Stage
from study.runtime.randomness import forked

Start = Literal["scratch", "faulty"]
BATCH, LEAST_STEPS = 128, 200


@dataclass(frozen=True)
class SubModels:
    """Trained sub-models, in eval mode. weights: [n, P], a row each, as `flat_weights` orders them."""

    models: list[nn.Module]
    weights: Tensor

    def right(self, split: Split) -> Tensor:
        """Whether each is right on each item of a small split, [n, N] bool."""
        batch = split.fetch(torch.arange(len(split)))
        with torch.no_grad():
            return torch.stack([model(batch.inputs).argmax(1) == batch.labels for model in self.models])


class SubModelTraining(Stage):
    """Trains `number` sub-models with Adam on cross-entropy, without selection.

    After the fit `submodels` holds them. They are trained as one network with stacked parameters where that is faster
    (see `pays_off`), otherwise one after the other in each step; the results differ by rounding.

    Args:
        problem: gives training split, augmentation, architecture and random streams; with `start` "scratch" it must be
            able to make a fresh network.
        number: of sub-models.
        per_class: training inputs of each class in a sub-model's subset (all of a smaller class); auto: a fifth of the
            class, at most 1,000.
        epochs: passes over the subset; auto: 5, and more where that is fewer than 200 steps.
        lr: Adam's rate.
        start: newly initialised (`scratch`), or from the `faulty` weights.
        stacked: auto: where it pays off.
    """

    automatic_optimization = False
    submodels: SubModels

    def __init__(
        self,
        problem: Problem,
        *,
        number: int,
        per_class: int | Auto,
        epochs: int | Auto,
        lr: float,
        start: Start,
        stacked: bool | Auto = "auto",
    ) -> None:
        super().__init__()
        self.problem, self.number = problem, number
        generator, labels = problem.stream("submodels/subsets"), problem.train.labels.cpu()
        self.subsets = torch.stack([balanced_subset(labels, per_class, generator) for _ in range(number)])
        self.batches = SubsetBatches(self.subsets, problem.stream("submodels/batches"))
        self.max_epochs = max(5, -(-LEAST_STEPS // len(self.batches))) if epochs == "auto" else epochs
        self._draws = problem.stream("submodels/augmentation")
        models = [_initial(problem, start, index).train() for index in range(number)]
        together = pays_off(models[0], self._example()) if stacked == "auto" else stacked
        self._networks: Stacked | OneByOne = (Stacked if together else OneByOne)(models, lr)

    def _example(self) -> Tensor:
        return self.problem.train.fetch(self.subsets[0, :2]).inputs

    def train_dataloader(self) -> SubsetBatches:
        return self.batches

    def training_step(self, indices: Tensor, batch_idx: int) -> None:
        """A step of each sub-model, on its row of `indices` [n, B] into the training split."""
        batch = self.problem.train.fetch(indices.flatten())
        inputs = self.problem.recipe.augmented(batch.inputs, self._draws)
        # Dropout must not change the random state of what comes after: it is the same with sub-models and without.
        with torch.enable_grad(), forked(self.problem.seed, "submodels", "layers", self.steps_taken):
            self._networks.step(inputs.unflatten(0, indices.shape), batch.labels.view(indices.shape))
        self.steps_taken += self.number

    def configure_optimizers(self) -> None:
        """The networks have their own."""

    def on_train_end(self) -> None:
        models = [model.eval() for model in self._networks.models()]
        self.submodels = SubModels(models, torch.stack([flat_weights(model) for model in models]))
        for number, model in enumerate(models):
            self.record({"submodels/validation_accuracy": accuracy(model, self.problem.validation)}, number)


def _initial(problem: Problem, start: Start, index: int) -> nn.Module:
    if start == "faulty":
        return problem.copy()
    fresh = problem.fresh(problem.seed_of(f"submodels/init/{index}"))
    assert fresh is not None
    return fresh


class SubsetBatches:
    """Batches [n, B] of indices into the training split, row j from the j-th of n subsets; newly shuffled at each pass.

    A pass is cut into batches that differ by at most one item, so that none is too small for BatchNorm.
    """

    def __init__(self, subsets: Tensor, generator: torch.Generator) -> None:
        self.subsets = subsets
        self.generator = generator

    def __len__(self) -> int:
        return -(-self.subsets.shape[1] // BATCH)

    def __iter__(self) -> Iterator[Tensor]:
        size = self.subsets.shape[1]
        order = torch.stack([torch.randperm(size, generator=self.generator) for _ in self.subsets])
        yield from self.subsets.gather(1, order).tensor_split(len(self), dim=1)
