"""Layers of a network found by running it once, traceable or not."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn

from study.errors import NotApplicable
from study.parts.network.structure import WEIGHTED, Structure


class Call(NamedTuple):
    """A module of a network that ran, and the shape of its output."""

    name: str
    module: nn.Module
    shape: torch.Size


def calls_of(model: nn.Module, example: Tensor, watched: Callable[[nn.Module], bool]) -> list[Call]:
    """The calls of the modules that are `watched`, in the order they run on `example` ([B, ...]), traceable or not."""
    calls: list[Call] = []
    hooks = [
        module.register_forward_hook(lambda part, _, output, name=name: calls.append(Call(name, part, output.shape)))
        for name, module in model.named_modules()
        if watched(module)
    ]
    try:
        with torch.no_grad():
            model(example)
    finally:
        for hook in hooks:
            hook.remove()
    return calls


def last_linear(model: nn.Module, example: Tensor) -> tuple[str, nn.Linear]:
    """Name and module of the Linear layer that runs last on `example` ([B, ...]), traceable or not.

    Raises NotApplicable if none runs.
    """
    calls = calls_of(model, example, lambda module: isinstance(module, nn.Linear))
    if not calls:
        raise NotApplicable("the network has no Linear layer")
    return calls[-1].name, calls[-1].module  # type: ignore[return-value]


def output_layer(model: nn.Module, example: Tensor) -> str:
    """Name of the Linear layer whose output, computed once, is the logits of `example` [B, ...].

    Raises NotApplicable where there is none.
    """
    name, module = last_linear(model, example)
    outputs: list[Tensor] = []
    hook = module.register_forward_hook(lambda _, __, output: outputs.append(output.clone()))
    try:
        with torch.no_grad():
            logits = model(example)
    finally:
        hook.remove()
    if len(outputs) != 1 or logits.dim() != 2 or not torch.equal(outputs[0], logits):
        raise NotApplicable("the output of the network's last Linear layer is not its logits")
    return name


def eligible_layers(model: nn.Module, example: Tensor) -> list[str]:
    """Names of the layers whose weights can be searched: every Linear and Conv2d that runs once, in order.

    Where the model cannot be traced, the last Linear layer alone, if it gives the logits of `example` ([B, ...]).
    Raises NotApplicable where there is none.
    """
    try:
        names = [layer.name for layer in Structure(model).layers]
    except NotApplicable:
        names = [output_layer(model, example)]
    if not names:
        raise NotApplicable("the network has no Linear or Conv2d layer that runs once per input")
    return names


def weighted_layers(model: nn.Module, example: Tensor) -> list[str]:
    """Names of the Linear and Conv2d layers that run on `example` [B, ...], by their first run, traceable or not."""
    return list(dict.fromkeys(call.name for call in calls_of(model, example, lambda part: isinstance(part, WEIGHTED))))
