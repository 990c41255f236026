"""The dense layers at the end of a network with nothing but a ReLU from one to the next."""

from __future__ import annotations

from torch import Tensor, nn

from study.errors import NotApplicable
from study.parts.network.layers import output_layer
from study.parts.network.linear_cuts import linear_cuts
from study.parts.network.structure import Structure

_IDLE = (nn.Dropout, nn.Identity, nn.Flatten)
"""Modules that change no value of a vector at inference."""


def rectified_chain(model: nn.Module, example: Tensor) -> list[str]:
    """Names of the Linear layers of the chain, in the order they run on `example` [B, ...], the output layer last.

    `model` is in eval mode. Where it cannot be traced, it is the output layer alone. Raises NotApplicable where no
    Linear layer gives the logits.
    """
    output = output_layer(model, example)
    try:
        head = Structure(model).head
    except NotApplicable:
        return [output]
    whole = {cut.name for cut in linear_cuts(model, example)}
    steps = [
        (name, module) for name, module in zip(head.names, head.modules, strict=True) if not isinstance(module, _IDLE)
    ]
    if steps[-1][0] != output:
        return [output]
    names = [output]
    for (name, module), (_, activation) in zip(steps[-3::-2], steps[-2::-2], strict=False):
        if not isinstance(module, nn.Linear) or not isinstance(activation, nn.ReLU) or name not in whole:
            break
        names.insert(0, name)
    return names


def chain_of(model: nn.Module, example: Tensor, count: int) -> list[str]:
    """The last `count` layers of the chain; raises NotApplicable where it has fewer."""
    names = rectified_chain(model, example)
    if len(names) < count:
        raise NotApplicable(
            f"needs {count - 1} hidden Linear layers, each with a ReLU behind it, in a chain before the last Linear "
            f"layer: there are {len(names) - 1}"
        )
    return names[-count:]
