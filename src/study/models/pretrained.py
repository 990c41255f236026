"""torchvision's trained weights for the networks that are torchvision's own."""

from __future__ import annotations

import pickle
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from study.errors import UsageError


def load_pretrained(net: nn.Module, weights: Any, given: Mapping[str, Any], expected: Mapping[str, Any]) -> None:
    """Put the weights of a member of one of torchvision's `..._Weights` into a network with torchvision's keys.

    They are read from torch's cache, into which torchvision fetches them when they are not there, comparing a checksum;
    a fetch that breaks leaves nothing there. Read without pickle.

    given, expected: settings of the network, and what they have to be for these weights to fit.

    Raises:
        UsageError: They do not fit, or cannot be had.
    """
    if differing := [f"{name}={given[name]}" for name, value in expected.items() if given[name] != value]:
        fitting = ", ".join(f"{name}={value}" for name, value in expected.items())
        raise UsageError(
            f"architecture.pretrained=true: torchvision's weights are for {fitting}, not for {', '.join(differing)}"
        )
    try:
        state = weights.get_state_dict(progress=False, check_hash=True, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, EOFError, pickle.UnpicklingError) as error:
        file = Path(torch.hub.get_dir(), "checkpoints", Path(weights.url).name)
        reason = next(iter(str(error).strip().splitlines()), type(error).__name__)
        raise UsageError(
            f"architecture.pretrained=true: {weights.url} cannot be had ({reason}); bring it yourself as {file}"
        ) from error
    net.load_state_dict({_renamed(name): tensor for name, tensor in state.items()})


def _renamed(name: str) -> str:
    """A key of torchvision's first DenseNet (norm.1) as it is now (norm1)."""
    return re.sub(r"(denselayer\d+\.(?:norm|conv))\.(?=[12]\.)", r"\1", name)
