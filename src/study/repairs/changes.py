"""How far a repaired model's weights are from the faulty one's."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple

from torch import Tensor, nn


class LayerChange(NamedTuple):
    """What a repair did to the parameters of one layer that both models have.

    layer: name of the module that holds them, in the faulty model; weights: how many there are; changed: how many
    differ; norm: of the faulty ones, L2; distance: of the repaired ones from these, L2.
    """

    layer: str
    weights: int
    changed: int
    norm: float
    distance: float


def is_finite(model: nn.Module) -> bool:
    """Whether no parameter or buffer of floating point is infinite or not a number."""
    return all(bool(tensor.isfinite().all()) for tensor in model.state_dict().values() if tensor.is_floating_point())


def changed_share(before: nn.Module, after: nn.Module) -> float:
    """Share of the faulty model's parameters whose value differs afterwards.

    Where the repaired model holds the faulty one among other parts (a patch network, voters), their parameters and
    buffers count as changed too, so that the share can exceed 1; buffers that every copy of the model has
    (normalisation) do not count.
    """
    old, new = dict(before.named_parameters()), dict(after.named_parameters())
    unchanged = _equal_values(old, new, _place(old, after))
    return (_count(new) + _added_buffers(before, after) - unchanged) / _count(old)


def layer_changes(before: nn.Module, after: nn.Module) -> list[LayerChange]:
    """The layers of the faulty model that the repaired one, or a part of it, still has, in the faulty model's order."""
    old, new = dict(before.named_parameters()), dict(after.named_parameters())
    layers: dict[str, LayerChange] = {}
    for name, (ours, theirs) in _pairs(old, new, _place(old, after)).items():
        layer = name.rpartition(".")[0]
        _, weights, changed, norm, distance = layers.get(layer, LayerChange(layer, 0, 0, 0.0, 0.0))
        layers[layer] = LayerChange(
            layer,
            weights + ours.numel(),
            changed + int((ours != theirs).sum()),
            math.hypot(norm, ours.norm().item()),
            math.hypot(distance, (theirs - ours).norm().item()),
        )
    return list(layers.values())


def relative_change(layers: list[LayerChange]) -> float | None:
    """L2 distance of the weights that both models have, over the norm of the faulty ones; None where that is 0."""
    norm = math.hypot(*(layer.norm for layer in layers))
    return math.hypot(*(layer.distance for layer in layers)) / norm if norm else None


def added_parameters(before: nn.Module, after: nn.Module) -> int:
    """How many parameters the repaired model has beyond those of the faulty one that it still holds.

    Buffers that no copy of the faulty model has (a patch's) count too, as in `changed_share`.
    """
    old, new = dict(before.named_parameters()), dict(after.named_parameters())
    held = sum(ours.numel() for ours, _ in _pairs(old, new, _place(old, after)).values())
    return _count(new) + _added_buffers(before, after) - held


def _added_buffers(before: nn.Module, after: nn.Module) -> int:
    usual = tuple(name for name, _ in before.named_buffers())
    return sum(buffer.numel() for name, buffer in after.named_buffers() if not name.endswith(usual))


def _place(old: Mapping[str, Tensor], after: nn.Module) -> str:
    """The prefix under which most of the old values stand unchanged in the repaired model."""
    new = dict(after.named_parameters())
    prefixes = [f"{name}." if name else "" for name, _ in after.named_modules()]
    return max(prefixes, key=lambda prefix: (_equal_values(old, new, prefix), len(_pairs(old, new, prefix))))


def _pairs(old: Mapping[str, Tensor], new: Mapping[str, Tensor], prefix: str) -> dict[str, tuple[Tensor, Tensor]]:
    """The old and the new tensor of each name of `old` that `new` has after `prefix`, at the same shape."""
    both = {name: (tensor, new[prefix + name]) for name, tensor in old.items() if prefix + name in new}
    return {name: pair for name, pair in both.items() if pair[0].shape == pair[1].shape}


def _equal_values(old: Mapping[str, Tensor], new: Mapping[str, Tensor], prefix: str) -> int:
    """How many values of `old` stand unchanged in `new` under the same names after `prefix`."""
    return sum(int((ours == theirs).sum()) for ours, theirs in _pairs(old, new, prefix).values())


def _count(tensors: Mapping[str, Tensor]) -> int:
    return sum(tensor.numel() for tensor in tensors.values())
