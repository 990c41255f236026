"""A network with a second channel: the first decides which units are on, the second computes the values.

The decoupled network of Sotoudeh & Thakur, "Provable Repair of Deep Neural Networks", PLDI 2021. One layer has other
weights in the channel of values; since ReLUs and max-poolings choose as in the faulty network, the logits are affine in
those weights, at every input.
"""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from study.models.frozen_run import FrozenRun
from study.storage.blueprint import Blueprint, blueprint_of


class DecoupledNetwork(nn.Module):
    """`model` with the layer `values` in the place of its layer `layer`, for the values alone; to logits [B, C].

    Up to that layer both channels are one. As long as `values` is the layer itself, the logits are those of `model`.
    A gradient takes the choices of ReLUs and max-poolings as constants, which it does in any network.

    Args:
        model: taken over, in eval mode; piecewise linear after the layer.
        layer: name of a Linear or Conv2d that runs once.
    """

    def __init__(self, model: nn.Module, layer: str) -> None:
        super().__init__()
        self.model, self.layer = model.eval(), layer
        self.values = copy.deepcopy(model.get_submodule(layer))
        self.run = FrozenRun(model, layer)

    @property
    def blueprint(self) -> Blueprint:
        """How to build this model again: see `study.storage.blueprint`."""
        name = f"{type(self).__module__}.{type(self).__qualname__}"
        return {"class": name, "arguments": {"model": blueprint_of(self.model), "layer": self.layer}}

    def forward(self, inputs: Tensor) -> Tensor:
        entering = self.run.entering(inputs)
        with torch.no_grad():
            choices = self.run.choices(entering, self.model.get_submodule(self.layer)(entering[0]))
        return self.run.logits(entering, self.values(entering[0]), choices)
