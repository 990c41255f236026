"""Fault localisation on single weights: how much a weight drives the loss, and how much it contributes to the output.

After Arachne (Sohn, Kang, Yoo, TOSEM 32(4), 2023) and its authors' code. Everything is in closed form: no loop runs
over neurons or weights.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional

from study.data.split import Split
from study.parts.network.taps import tapped_run

ConvNorm = Literal["reference", "per_input"]
BATCH = 256


@dataclass(frozen=True)
class Gradients:
    """What one backward pass over some inputs gives, per layer.

    loss: |sum over the inputs of the gradient of the cross-entropy|, shaped as the weight; back: share of each unit in
    the gradient of the summed logits, mean over the inputs, shaped as the layer's output without the batch; sums to 1.
    """

    loss: dict[str, Tensor]
    back: dict[str, Tensor]


class Localiser:
    """Measures the weights of the layers `names` of a model in eval mode; works on a copy of it.

    Raises NotApplicable where the model cannot be traced and `names` is not its output layer alone.
    """

    def __init__(self, model: nn.Module, names: Sequence[str]) -> None:
        self.names = list(names)
        self.model = copy.deepcopy(model).requires_grad_(True)
        self.layers: list[nn.Linear | nn.Conv2d] = [self.model.get_submodule(n) for n in names]  # type: ignore[misc]
        self._taps = tapped_run(self.model, self.names)

    def gradients(self, split: Split, indices: Tensor) -> Gradients:
        """Gradient loss and the backward factor of the forward impact on the items at `indices` [N] of `split`."""
        weights = [layer.weight for layer in self.layers]
        loss = [torch.zeros_like(weight) for weight in weights]
        back: list[Tensor | float] = [0.0] * len(weights)
        for batch in split.batches(BATCH, within=indices):
            with torch.enable_grad():
                logits, tapped = self._taps(batch.inputs)
                cost = functional.cross_entropy(logits, batch.labels, reduction="sum")
                leaving = [after for _, after in tapped]
                slopes = _gradient(logits.sum(), leaving, retain_graph=True)
                steps = _gradient(cost, weights)
            loss = [total + step for total, step in zip(loss, steps, strict=True)]
            back = [total + _shares(slope) for total, slope in zip(back, slopes, strict=True)]
        return Gradients(
            {name: total.abs() for name, total in zip(self.names, loss, strict=True)},
            {name: total / len(indices) for name, total in zip(self.names, back, strict=True)},  # type: ignore[misc]
        )

    def forward_impact(
        self, split: Split, indices: Tensor, back: Mapping[str, Tensor], conv_norm: ConvNorm = "reference"
    ) -> dict[str, Tensor]:
        """Forward impact of every weight on the items at `indices` [N]: its share of its unit's input, times `back`.

        The share is that in the sum of absolute products |input * weight|, per input; for a convolution with
        `reference` (the authors' code) over the whole batch, and in both cases signed.
        """
        scales = self._batch_scales(split, indices) if conv_norm == "reference" else {}
        impact = {name: torch.zeros_like(layer.weight) for name, layer in zip(self.names, self.layers, strict=True)}
        with torch.no_grad():
            for batch in split.batches(BATCH, within=indices):
                tapped = self._taps(batch.inputs)[1]
                for name, layer, (entering, _) in zip(self.names, self.layers, tapped, strict=True):
                    scale = scales.get(name, _magnitude(layer, entering))
                    upstream = (back[name] / (len(indices) * scale)).masked_fill(scale == 0, 0.0)
                    values = entering.abs() if isinstance(layer, nn.Linear) else entering
                    impact[name] += _weight_gradient(layer, values, upstream.expand(len(entering), *back[name].shape))
            for name, layer in zip(self.names, self.layers, strict=True):
                impact[name] *= layer.weight.abs() if isinstance(layer, nn.Linear) else layer.weight
        return impact

    def _batch_scales(self, split: Split, indices: Tensor) -> dict[str, Tensor]:
        """Normaliser of each convolution over all items together, [1, C, H, W]."""
        scales: dict[str, Tensor] = {}
        with torch.no_grad():
            for batch in split.batches(BATCH, within=indices):
                tapped = self._taps(batch.inputs)[1]
                for name, layer, (entering, _) in zip(self.names, self.layers, tapped, strict=True):
                    if isinstance(layer, nn.Conv2d):
                        scales[name] = scales.get(name, 0.0) + _magnitude(layer, entering).sum(0, keepdim=True)
        return scales


def pooled(values: Mapping[str, Tensor]) -> Tensor:
    """The values of all layers in one vector, in the order of the mapping, each layer's row by row."""
    return torch.cat([tensor.reshape(-1) for tensor in values.values()])


def _gradient(value: Tensor, sources: list[Tensor], retain_graph: bool = False) -> tuple[Tensor, ...]:
    return torch.autograd.grad(value, sources, retain_graph=retain_graph, allow_unused=True, materialize_grads=True)


def _shares(slopes: Tensor) -> Tensor:
    """Sum over the inputs of |slopes| [B, ...] normalised to sum 1 per input; all-zero rows stay zero."""
    flat = functional.normalize(slopes.abs().flatten(1), p=1, dim=1, eps=torch.finfo(slopes.dtype).tiny)
    return flat.sum(0).reshape(slopes.shape[1:])


def _applied(layer: nn.Module, weight: Tensor, entering: Tensor) -> Tensor:
    """The layer with another weight and without its bias, whatever its stride, padding or groups."""
    bias = {} if layer.bias is None else {"bias": torch.zeros_like(layer.bias)}  # type: ignore[arg-type]
    result: Tensor = functional_call(layer, {"weight": weight, **bias}, (entering,))
    return result


def _magnitude(layer: nn.Linear | nn.Conv2d, entering: Tensor) -> Tensor:
    """Sum of |input * weight| over what enters each unit, shaped as the layer's output."""
    return _applied(layer, layer.weight.abs(), entering.abs())


def _weight_gradient(layer: nn.Linear | nn.Conv2d, entering: Tensor, upstream: Tensor) -> Tensor:
    """Sum over inputs and positions of input times `upstream`, shaped as the weight."""
    with torch.enable_grad():
        weight = layer.weight.detach().requires_grad_(True)
        return torch.autograd.grad(_applied(layer, weight, entering.detach()), weight, upstream)[0]
