"""Bounds of the features that enter the head of a network."""

from __future__ import annotations

import torch
from torch import Tensor, fx, nn
from torch.nn import functional

from study.data.split import Split
from study.parts.network.structure import Structure
from study.problem.prediction import BATCH
from study.problem.recipe import Auto

_SIGN_KEEPING = (
    nn.MaxPool2d,
    nn.AvgPool2d,
    nn.AdaptiveAvgPool2d,
    nn.AdaptiveMaxPool2d,
    nn.Flatten,
    nn.Dropout,
    nn.Identity,
)
_RESHAPES = (torch.flatten, "flatten", "view", "reshape")
_RELUS = (torch.relu, functional.relu, "relu")


def feature_bounds(
    structure: Structure, split: Split, points: Tensor, bounds: tuple[float, float] | Auto
) -> tuple[Tensor, Tensor]:
    """Least and largest value that each feature which enters the head of a network may have: [d] each, float64, CPU.

    Args:
        split: with `bounds` auto, the values that its items have; and from 0 on where the features follow a ReLU, as
            an input outside of the split may show.
        points: [N, d] float64 on the CPU, features that lie within in any case.
        bounds: auto, or one pair for all features.
    """
    if bounds == "auto":
        lower, upper = _observed(structure, split)
    else:
        lower, upper = torch.tensor(bounds, dtype=torch.float64)
    return torch.minimum(lower, points.amin(0)), torch.maximum(upper, points.amax(0))


def _observed(structure: Structure, split: Split) -> tuple[Tensor, Tensor]:
    prefix = structure.prefix(structure.head.node)
    with torch.inference_mode():
        extrema = [prefix(batch.inputs).double().aminmax(dim=0) for batch in split.batches(BATCH)]
    lower = torch.stack([each.min for each in extrema]).amin(0).cpu()
    upper = torch.stack([each.max for each in extrema]).amax(0).cpu()
    return lower.clamp(max=0) if follows_relu(structure) else lower, upper


def follows_relu(structure: Structure) -> bool:
    """Whether nothing but pooling and reshaping lies between a ReLU and the head: then no feature is negative."""
    node = structure.head.node.args[0]
    while isinstance(node, fx.Node):
        module = structure.modules[str(node.target)] if node.op == "call_module" else None
        if isinstance(module, nn.ReLU) or node.target in _RELUS:
            return True
        if not (isinstance(module, _SIGN_KEEPING) or node.target in _RESHAPES):
            return False
        node = node.args[0]
    return False
