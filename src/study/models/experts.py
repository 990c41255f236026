"""A network and its experts: one per class, each the network with another row of its output layer."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from study.storage.blueprint import Blueprint, blueprint_of


class ClassExperts(nn.Module):
    """Combines experts by confidence: an expert claims an input if it answers its own class, the largest claim wins.

    Expert k is `model` with `steps[k]` added to row k of its output layer, so that it differs in logit k alone. The
    logits are those of `model` with logit k replaced by the expert's where expert k claims the input: their largest is
    the most confident claim (of equals the first class), and the model's own answer where nobody claims. An expert
    without a step is the model.

    Args:
        model: taken over, in eval mode.
        layer: name of the Linear layer that gives its logits.
    """

    steps: Tensor

    def __init__(self, model: nn.Module, layer: str) -> None:
        super().__init__()
        self.model, self.layer = model.eval(), layer
        self.register_buffer("steps", torch.zeros_like(model.get_parameter(f"{layer}.weight"), requires_grad=False))

    def forward(self, inputs: Tensor) -> Tensor:
        entered: list[Tensor] = []
        output = self.model.get_submodule(self.layer)
        hook = output.register_forward_pre_hook(lambda _, arguments: entered.append(arguments[0]))
        try:
            logits = self.model(inputs)
        finally:
            hook.remove()
        own = logits + entered[-1] @ self.steps.T
        return torch.where(claims(logits, own), own, logits)

    @property
    def blueprint(self) -> Blueprint:
        """How to build this model again: see `study.storage.blueprint`."""
        name = f"{type(self).__module__}.{type(self).__qualname__}"
        return {"class": name, "arguments": {"model": blueprint_of(self.model), "layer": self.layer}}


def claims(logits: Tensor, own: Tensor) -> Tensor:
    """Whether expert k answers k, [B, C] bool, where its logits are `logits` [B, C] with the k-th replaced by `own`'s.

    Of equal logits the first counts, as in `argmax`.
    """
    lowest = torch.full_like(logits[:, :1], -torch.inf)
    before = torch.cat([lowest, logits.cummax(1).values[:, :-1]], 1)
    after = torch.cat([logits.flip(1).cummax(1).values.flip(1)[:, 1:], lowest], 1)
    return (own > before) & (own >= after)
