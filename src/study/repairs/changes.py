"""How far a repaired model's weights are from the faulty one's."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn


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
    usual = tuple(name for name, _ in before.named_buffers())
    added = sum(buffer.numel() for name, buffer in after.named_buffers() if not name.endswith(usual))
    prefixes = [f"{name}." if name else "" for name, _ in after.named_modules()]
    unchanged = max(_equal_values(old, new, prefix) for prefix in prefixes)
    return (_count(new) + added - unchanged) / _count(old)


def _equal_values(old: Mapping[str, Tensor], new: Mapping[str, Tensor], prefix: str) -> int:
    """How many values of `old` stand unchanged in `new` under the same names after `prefix`."""
    pairs = [(tensor, new[prefix + name]) for name, tensor in old.items() if prefix + name in new]
    return sum(int((ours == theirs).sum()) for ours, theirs in pairs if ours.shape == theirs.shape)


def _count(tensors: Mapping[str, Tensor]) -> int:
    return sum(tensor.numel() for tensor in tensors.values())
