"""Inputs to try a network with, before any data is loaded."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor


def example_inputs(kind: str, shape: Sequence[int], bounds: tuple[float, float], count: int) -> Tensor:
    """`count` inputs [count, *shape]: floats over the range of `bounds`, or token ids (int64).

    Every token is 1: the smallest vocabulary has it, and 0 often stands for padding.
    """
    whole = (count, *shape)
    if kind == "tokens":
        return torch.ones(whole, dtype=torch.int64)
    return torch.linspace(*bounds, math.prod(whole)).reshape(whole)
