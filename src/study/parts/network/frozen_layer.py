"""A layer of a network on some inputs, with every later choice frozen: logits affine in the layer's weights."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse import csr_array, vstack
from torch import Tensor, nn
from torch.nn import functional

from study.data.split import Split
from study.models.frozen_run import Choices, Frozen, FrozenRun
from study.problem.prediction import BATCH

Vector = NDArray[np.float64]
LARGEST_BLOCK = 2**23
"""Numbers in the largest intermediate array."""


@dataclass(frozen=True)
class FrozenLayer:
    """The layer of `run` on m inputs, in float64 on the CPU, and what may change: rows of the layer, later biases.

    A change is one vector u of `width` numbers: for each of `units` (q rows of the layer, its output channels) the
    change of its weights and, where the layer has one, of its bias (d numbers in all); then those of the biases of
    `later`.

    run: of the network after the layer; entering: see `FrozenRun`, [m, ...] each; choices: those of the network itself
    at the inputs; units: [q] int64, ascending; later: names of layers and number of their biases.
    """

    run: FrozenRun
    entering: list[Tensor]
    choices: Choices
    units: Tensor
    later: Mapping[str, int]

    @classmethod
    def of(cls, run: FrozenRun, split: Split, indices: Tensor, later: Sequence[str] = ()) -> FrozenLayer:
        """On the items of a split at `indices`; all rows of the layer may change and the biases of `later`.

        The choices are taken as the network makes them, in its own precision.
        """
        layer, parts = run.modules[run.layer], list[tuple[list[Tensor], Choices]]()
        with torch.inference_mode():
            for batch in split.subset(indices).batches(BATCH):
                entering = run.entering(batch.inputs)
                parts.append((entering, run.choices(entering, layer(entering[0]))))
        entered, choices = (
            [torch.cat([piece.cpu() for piece in pieces]).clone() for pieces in zip(*part, strict=True)]
            for part in zip(*parts, strict=True)
        )
        units = torch.arange(_weight(layer).shape[0])
        sizes = {name: run.modules[name].get_parameter("bias").numel() for name in later}
        return cls(run.double(), [tensor.double() for tensor in entered], choices, units, sizes)

    @property
    def module(self) -> nn.Module:
        """The layer."""
        return self.run.modules[self.run.layer]

    @property
    def count(self) -> int:
        """m."""
        return len(self.entering[0])

    @property
    def row(self) -> int:
        """d, the numbers of one row with its bias."""
        return _weight(self.module)[0].numel() + (self.module.bias is not None)

    @property
    def width(self) -> int:
        return len(self.units) * self.row + sum(self.later.values())

    def only(self, units: Tensor) -> FrozenLayer:
        """The same with changes in `units` alone."""
        return FrozenLayer(self.run, self.entering, self.choices, units.sort().values, self.later)

    def changes(self, vector: Vector) -> dict[str, Tensor]:
        """What a change adds to each parameter, by the parameter's name in the network, float64."""
        own, *biases = torch.from_numpy(vector).split([len(self.units) * self.row, *self.later.values()])
        weight, rows, name = _weight(self.module), own.view(len(self.units), self.row), self.run.layer
        weights = torch.zeros_like(weight).flatten(1)
        weights[self.units] = rows[:, : weights.shape[1]]
        parameters = {f"{name}.weight": weights.view_as(weight)}
        if self.module.bias is not None:
            parameters[f"{name}.bias"] = torch.zeros(len(weight), dtype=weight.dtype)
            parameters[f"{name}.bias"][self.units] = rows[:, -1]
        return parameters | {f"{layer}.bias": bias for layer, bias in zip(self.later, biases, strict=True)}

    def at(self, vector: Vector) -> tuple[Vector, Vector]:
        """Logits [m, C] and slacks [m, S] (see `Frozen`) under a change."""
        logits, slacks = zip(*self._runs(self.changes(vector)), strict=True)
        return torch.cat(logits).numpy(), torch.cat(slacks).numpy()

    def gap_rows(self, items: Tensor, labels: Tensor, others: Tensor) -> csr_array:
        """Gradients [R, width] of logit `labels` minus logit `others` of each of the `items` ([R] each)."""
        return self._rows(items, lambda part, now: _of(now.logits, labels[part]) - _of(now.logits, others[part]))

    def logit_rows(self, items: Tensor, classes: Tensor) -> csr_array:
        """Gradients [R, width] of logit `classes` of each of the `items` ([R] each)."""
        return self._rows(items, lambda part, now: _of(now.logits, classes[part]))

    def slack_rows(self, items: Tensor, places: Tensor) -> csr_array:
        """Gradients [R, width] of the slacks (item, place), [R] each."""
        return self._rows(items, lambda part, now: _of(now.slacks, places[part]))

    def usefulness(self, items: Tensor, labels: Tensor, others: Tensor) -> Tensor:
        """Of each row of the layer the sum over `items` of |d (logit `labels` - logit `others`) / d its output|, [p].

        A convolution's outputs count one by one.
        """
        total = torch.zeros(len(_weight(self.module)), dtype=torch.float64)
        value = lambda part, now: _of(now.logits, labels[part]) - _of(now.logits, others[part])  # noqa: E731
        for _, gradient, _ in self._gradients(items, value):
            total += gradient.abs().reshape(*gradient.shape[:2], -1).sum((0, 2))
        return total

    def _runs(self, changes: Mapping[str, Tensor]) -> Iterable[Frozen]:
        """The frozen network, some inputs at a time."""
        weight, bias = (changes.get(f"{self.run.layer}.{kind}") for kind in ("weight", "bias"))
        offsets = {name: changes[f"{name}.bias"] for name in self.later}
        for items in torch.arange(self.count).split(self._at_once):
            entering, choices = self._at(items)
            output = self.module(entering[0]) + _applied(self.module, entering[0], weight, bias)
            yield self.run.frozen(entering, output, choices, offsets)

    def _at(self, items: Tensor) -> tuple[list[Tensor], Choices]:
        return [tensor[items] for tensor in self.entering], [choice[items] for choice in self.choices]

    @property
    def _at_once(self) -> int:
        """Inputs that run at the same time."""
        largest = max(tensor[0].numel() for tensor in (*self.entering, *self.choices, _weight(self.module)[None]))
        return max(1, LARGEST_BLOCK // (16 * largest))

    def _rows(self, items: Tensor, value: Value) -> csr_array:
        matrices = [csr_array((0, self.width))]
        for part, gradient, biases in self._gradients(items, value):
            own = self._own_rows(self.entering[0][items[part]], gradient[:, self.units])
            matrices.append(csr_array(torch.cat([own.flatten(1), *biases], 1).numpy()))
        return vstack(matrices, format="csr")

    def _gradients(self, items: Tensor, value: Value) -> Iterable[tuple[Tensor, Tensor, tuple[Tensor, ...]]]:
        """Of each item's value the gradient by the layer's output [R, p, ...] and by the later biases, in parts.

        The value of an item depends on no other item, so that the gradient of their sum holds all of them.
        """
        size = min(self._at_once, max(1, LARGEST_BLOCK // self.width))
        for part in torch.arange(len(items)).split(size):
            if not len(part):
                return
            entering, choices = self._at(items[part])
            output = self.module(entering[0]).requires_grad_()
            offsets = {name: torch.zeros(len(part), size).double() for name, size in self.later.items()}
            for offset in offsets.values():
                offset.requires_grad_()
            total = value(part, self.run.frozen(entering, output, choices, offsets)).sum()
            gradient, *biases = torch.autograd.grad(total, [output, *offsets.values()], materialize_grads=True)
            yield part, gradient, tuple(biases)

    def _own_rows(self, entered: Tensor, gradient: Tensor) -> Tensor:
        """From gradients by the outputs of the `units` [R, q, ...] those by their weights and biases, [R, q, d]."""
        gradient = gradient.reshape(*gradient.shape[:2], -1)
        patches = _patches(self.module, entered)
        rows = torch.einsum("rql,rdl->rqd", gradient, patches)
        if self.module.bias is None:
            return rows
        return torch.cat([rows, gradient.sum(2, keepdim=True)], 2)


Value = Callable[[Tensor, Frozen], Tensor]
"""From numbers [R] into `items`, and the network run on those items, to one value of each, [R]."""


def _weight(module: nn.Module) -> Tensor:
    return module.get_parameter("weight")


def _of(values: Tensor, columns: Tensor) -> Tensor:
    """The entry of each row in its column, [R]."""
    return values.gather(1, columns[:, None])[:, 0]


def _applied(module: nn.Module, entered: Tensor, weight: Tensor | None, bias: Tensor | None) -> Tensor:
    """The layer with other weights."""
    assert weight is not None
    if isinstance(module, nn.Conv2d):
        return functional.conv2d(entered, weight, bias, module.stride, module.padding, module.dilation)
    return functional.linear(entered, weight, bias)


def _patches(module: nn.Module, entered: Tensor) -> Tensor:
    """What each output of the layer sees: [R, d, L], L = 1 for a Linear."""
    if not isinstance(module, nn.Conv2d):
        return entered[:, :, None]
    padded = functional.pad(entered, module._reversed_padding_repeated_twice)
    return functional.unfold(padded, module.kernel_size, module.dilation, 0, module.stride)


def add_changes(model: nn.Module, changes: Mapping[str, Tensor]) -> nn.Module:
    """Add to parameters of `model`, by name, in place; the sum is rounded once. Returns the model."""
    with torch.no_grad():
        for name, change in changes.items():
            parameter = model.get_parameter(name)
            parameter.copy_(parameter.double() + change.to(parameter.device))
    return model
