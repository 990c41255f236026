"""Whether a repair is the faulty network with other weights."""

from __future__ import annotations

from torch import nn

from study.errors import NotApplicable


def check_alike(safeguard: str, before: nn.Module, after: nn.Module) -> None:
    """Raise NotApplicable, in the name of the safeguard, where `after` is not `before` with other weights.

    That is: it is of another class, or its parameters and buffers have other names or shapes.
    """
    shapes = [{name: tensor.shape for name, tensor in model.state_dict().items()} for model in (before, after)]
    if type(before) is not type(after):
        raise NotApplicable(f"{safeguard} needs a repair of weights alone, and this one is a {type(after).__name__}")
    if shapes[0] != shapes[1]:
        raise NotApplicable(f"{safeguard} needs a repair of weights alone, and this one has other layers")
