"""A chain of dense layers and ReLUs: affine wherever each of its hidden units stays on or off."""

from __future__ import annotations

import copy
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

ACTIVATIONS = (nn.ReLU, nn.LeakyReLU)


class PiecewiseLinear:
    """A chain of dense layers (with BatchNorm1d in eval mode, as it is at inference) and ReLU or LeakyReLU between.

    Holds the modules without registering or copying them; other modules of the chain (Flatten, Dropout, Identity) are
    skipped. Hidden layer i is the i-th activation of the chain, `slopes` its slope below zero; `widths` are the numbers
    of hidden units, H their sum; `classes` is the width of the output.
    """

    def __init__(self, modules: Sequence[nn.Module]) -> None:
        self.modules = list(modules)
        self.segments: list[list[nn.Module]] = [[]]
        self.slopes: list[float] = []
        self.widths: list[int] = []
        width = 0
        for module in modules:
            if isinstance(module, ACTIVATIONS):
                self.slopes.append(module.negative_slope if isinstance(module, nn.LeakyReLU) else 0.0)
                self.widths.append(width)
                self.segments.append([])
            else:
                self.segments[-1].append(module)
                width = module.out_features if isinstance(module, nn.Linear) else width
        self.classes = width

    @property
    def has_hidden_relu(self) -> bool:
        """Whether a ReLU or LeakyReLU lies between two Linear layers."""
        dense = [any(isinstance(module, nn.Linear) for module in segment) for segment in self.segments]
        return any(any(dense[:i]) and any(dense[i:]) for i in range(1, len(dense)))

    def double(self) -> PiecewiseLinear:
        """A copy in float64 on the CPU, without gradients."""
        return PiecewiseLinear([copy.deepcopy(module).double().cpu().requires_grad_(False) for module in self.modules])

    def affine(self, layer: int, values: Tensor) -> Tensor:
        """The affine map from activation `layer` - 1 (0: from the input) to the next pre-activations or the logits."""
        for module in self.segments[layer]:
            if isinstance(module, nn.Linear):
                values = functional.linear(values, module.weight, module.bias)
            elif isinstance(module, nn.BatchNorm1d):
                mean, variance = module.running_mean, module.running_var
                values = functional.batch_norm(values, mean, variance, module.weight, module.bias, eps=module.eps)
        return values

    def frozen(self, layer: int, values: Tensor, on: Tensor) -> Tensor:
        """Activation `layer` with each unit at slope 1 where `on` (bool, broadcast), else at its slope below zero."""
        return torch.where(on, values, self.slopes[layer] * values)

    def run(self, features: Tensor, pattern: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Pre-activations [N, H] and logits [N, C] of `features` [N, d]; `pattern` ([H] bool) freezes the units."""
        states = None if pattern is None else pattern.split(self.widths)
        values, units = self.affine(0, features), []
        for layer in range(len(self.slopes)):
            units.append(values)
            on = values >= 0 if states is None else states[layer]
            values = self.affine(layer + 1, self.frozen(layer, values, on))
        return torch.cat(units, dim=1), values
