"""Sub-models: networks of the faulty model's architecture, each trained on a small part of the training split."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.func import functional_call, stack_module_state, vmap
from torch.nn import functional
from torch.nn.modules.conv import _ConvNd

from study.data.split import Split
from study.parts.training.schedule import has_batch_norm
from study.parts.training.weight_shift import flat_weights
from study.problem.prediction import accuracy
from study.problem.problem import Problem
from study.repair.approach import Stage
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
    """Trains `number` sub-models with Adam on cross-entropy, without selection; `trained` holds them afterwards.

    They are trained as one network with stacked parameters where that is faster (see `pays_off`), otherwise one after
    the other in each step; the results differ by rounding.

    Args:
        number: of sub-models.
        per_class: training inputs of each class in a sub-model's subset (all of a smaller class); auto: a fifth of the
            class, at most 1,000.
        epochs: passes over the subset; auto: 5, and more where that is fewer than 200 steps.
        lr: Adam's rate.
        start: newly initialised (`scratch`), or from the `faulty` weights.
        stacked: auto: where it pays off.
    """

    automatic_optimization = False

    def __init__(
        self,
        *,
        number: int,
        per_class: int | Literal["auto"],
        epochs: int | Literal["auto"],
        lr: float,
        start: Start,
        stacked: bool | Literal["auto"] = "auto",
    ) -> None:
        super().__init__()
        self.number, self.per_class, self.start = number, per_class, start
        self.passes, self.lr, self.stacked = epochs, lr, stacked
        self.taken = 0

    def begin(self, problem: Problem) -> None:
        super().begin(problem)
        generator = problem.stream("submodels/subsets")
        labels = problem.train.labels.cpu()
        self.subsets = torch.stack([balanced_subset(labels, self.per_class, generator) for _ in range(self.number)])
        self._draws = problem.stream("submodels/augmentation")
        models = [self._initial(number).train() for number in range(self.number)]
        example = problem.train.fetch(self.subsets[0, :2]).inputs
        together = pays_off(models[0], example) if self.stacked == "auto" else self.stacked
        self._way: Stacked | OneByOne = (Stacked if together else OneByOne)(models, self.lr)

    def _initial(self, number: int) -> nn.Module:
        if self.start == "faulty":
            return self.problem.copy()
        fresh = self.problem.fresh(self.problem.seed_of(f"submodels/init/{number}"))
        assert fresh is not None
        return fresh

    @property
    def epochs(self) -> int:
        return max(5, -(-LEAST_STEPS // len(self.batches()))) if self.passes == "auto" else self.passes

    def batches(self) -> SubsetBatches:
        return SubsetBatches(self.subsets, self.problem.stream("submodels/batches"))

    def training_step(self, indices: Tensor, batch_idx: int) -> None:
        batch = self.problem.train.fetch(indices.flatten())
        inputs = self.problem.recipe.augmented(batch.inputs, self._draws)
        # Apart from the draws of layers (dropout) in what comes after: the same with sub-models and without.
        with torch.enable_grad(), forked(self.problem.seed, "submodels", "layers", self.taken):
            self._way.step(inputs.unflatten(0, indices.shape), batch.labels.view(indices.shape))
        self.taken += self.number

    def configure_optimizers(self) -> None:
        """Each way of training has its own."""

    def on_train_end(self) -> None:
        models = [model.eval() for model in self._way.models()]
        self.trained = SubModels(models, torch.stack([flat_weights(model) for model in models]))
        for number, model in enumerate(models):
            self.record({"submodels/validation_accuracy": accuracy(model, self.problem.validation)}, number)


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


class OneByOne:
    """Each network's step after the other's."""

    def __init__(self, models: list[nn.Module], lr: float) -> None:
        self._models = models
        self._optimizers = [torch.optim.Adam(model.parameters(), lr, fused=True) for model in models]

    def step(self, inputs: Tensor, labels: Tensor) -> None:
        """One step of each network on its own batch: inputs [n, B, ...], labels [n, B]."""
        for model, optimizer, own, wanted in zip(self._models, self._optimizers, inputs, labels, strict=True):
            optimizer.zero_grad()
            functional.cross_entropy(model(own), wanted).backward()
            optimizer.step()

    def models(self) -> list[nn.Module]:
        """The networks as trained so far."""
        return self._models


class Stacked:
    """All networks as one whose parameters have a dimension more; Adam works by element, so nothing else differs."""

    def __init__(self, models: list[nn.Module], lr: float) -> None:
        self._models = models
        self._parameters, _ = stack_module_state(models)
        self._optimizer = torch.optim.Adam(self._parameters.values(), lr, fused=True)

    def step(self, inputs: Tensor, labels: Tensor) -> None:
        """One step of each network on its own batch: inputs [n, B, ...], labels [n, B]."""
        self._optimizer.zero_grad()
        losses_of(self._models[0], self._parameters, inputs, labels).sum().backward()
        self._optimizer.step()

    def models(self) -> list[nn.Module]:
        """The networks as trained so far."""
        with torch.no_grad():
            for number, model in enumerate(self._models):
                for name, parameter in model.named_parameters():
                    parameter.copy_(self._parameters[name][number])
        return self._models


def losses_of(model: nn.Module, parameters: dict[str, Tensor], inputs: Tensor, labels: Tensor) -> Tensor:
    """Cross-entropy [n] of n networks with stacked parameters, each on its own batch; `model`: their architecture."""

    def loss(own: dict[str, Tensor], batch: Tensor, wanted: Tensor) -> Tensor:
        return functional.cross_entropy(functional_call(model, own, (batch,)), wanted)

    losses: Tensor = vmap(loss, randomness="different")(parameters, inputs, labels)
    return losses


def pays_off(model: nn.Module, example: Tensor) -> bool:
    """Whether training several such networks as one is possible, and faster.

    Possible: no statistics over the batch, and no branch that depends on values. `example`: two inputs.
    """
    on_cpu = example.device.type == "cpu"
    if has_batch_norm(model) or (on_cpu and any(isinstance(module, _ConvNd) for module in model.modules())):
        return False
    stacked = {name: parameter.detach()[None] for name, parameter in model.named_parameters()}
    try:
        losses_of(model, stacked, example[None], torch.zeros(1, len(example), dtype=torch.long, device=example.device))
    except RuntimeError:  # what vmap raises, in its many kinds
        return False
    return True


def balanced_subset(labels: Tensor, per_class: int | Literal["auto"], generator: torch.Generator) -> Tensor:
    """Indices of items drawn without replacement, as many of each class; classes one after the other, [M].

    Args:
        labels: [N], on the CPU.
        per_class: items of each class (all of a smaller class); auto: a fifth of the class, from 1 to 1,000.
    """
    shuffled = torch.randperm(len(labels), generator=generator)
    chosen = []
    for label in labels.unique():
        members = shuffled[labels[shuffled] == label]
        count = min(1000, max(1, len(members) // 5)) if per_class == "auto" else per_class
        chosen.append(members[:count])
    return torch.cat(chosen)
