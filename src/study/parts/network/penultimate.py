"""Penultimate features: what enters the last Linear layer of a network."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from study.data.split import Split
from study.parts.network.structure import last_linear
from study.problem.prediction import predict


def penultimate(model: nn.Module, split: Split) -> Tensor:
    """Input of the last Linear layer of `model` (in eval mode) for each item of `split`, flattened to length 1: [N, d].

    The network need not be traceable. Raises NotApplicable if it has no Linear layer.
    """
    _, layer = last_linear(model, split.fetch(torch.arange(min(2, len(split)))).inputs)
    seen: list[Tensor] = []
    hook = layer.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].flatten(1)))
    try:
        predict(model, split)
    finally:
        hook.remove()
    return functional.normalize(torch.cat(seen).clone(), eps=1e-12)
