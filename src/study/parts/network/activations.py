"""Activations of a frozen prefix, computed once and kept."""

from __future__ import annotations

from torch import Tensor, nn

from study.data.split import Split
from study.problem.prediction import predict


def activations(prefix: nn.Module, split: Split, indices: Tensor | None = None) -> Tensor:
    """Output of `prefix` (eval mode, no gradient) on the items of `split` at `indices` (all: None), in that order."""
    return predict(prefix, split if indices is None else split.subset(indices))
