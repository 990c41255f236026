"""The head of a network as a piecewise linear function of one feature vector per input."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from study.errors import NotApplicable
from study.models.piecewise_linear import PiecewiseLinear
from study.parts.network.structure import Structure


def dense_head(model: nn.Module, example: Tensor) -> PiecewiseLinear:
    """The head of `model` (in eval mode), whose modules it shares; `example`: [B, ...], inputs to try it with.

    Raises NotApplicable where there is none, where its first layer also runs elsewhere, where it is not affine while
    its ReLUs keep their state, or where it works on more than one vector per input.
    """
    structure = Structure(model)
    head = structure.head
    first = head.names[0]
    if first not in {layer.name for layer in structure.layers}:
        raise NotApplicable(f"the first dense layer of the head, {first}, runs more than once")
    if any(isinstance(module, nn.BatchNorm1d) and module.running_mean is None for module in head.modules):
        raise NotApplicable("BatchNorm in the dense head keeps no running statistics, so the head is not affine")
    with torch.inference_mode():
        features = structure.prefix(head.node)(example)
    if features.dim() != 2:
        raise NotApplicable("the dense head does not work on one feature vector per input")
    return PiecewiseLinear(head.modules)
