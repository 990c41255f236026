"""How important single weights are for right answers: by gradient, or by leaving each of them out."""

from __future__ import annotations

import copy
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from study.data.split import Split
from study.parts.network.tails import Tails

BATCH = 256


def gradient_importance(
    model: nn.Module, layers: Sequence[str], split: Split, groups: Sequence[Tensor]
) -> dict[str, Tensor]:
    """|W * dL/dW| of the weights of each layer, shaped as them: the first-order change of L if a weight is removed.

    L sums the mean cross-entropies over the groups of items of `split` ([N] int64 each), so that few failing inputs
    weigh as much as many passing ones; an empty group counts nothing. Works on a copy of `model` (in eval mode), which
    need not be traceable.
    """
    twin = copy.deepcopy(model).requires_grad_(False)
    weights = [twin.get_parameter(f"{name}.weight") for name in layers]
    slopes = [torch.zeros_like(weight) for weight in weights]
    for weight in weights:
        weight.requires_grad_(True)
    for group in groups:
        for batch in split.batches(BATCH, within=group):
            with torch.enable_grad():
                loss = functional.cross_entropy(twin(batch.inputs), batch.labels, reduction="sum") / len(group)
                steps = torch.autograd.grad(loss, weights, allow_unused=True, materialize_grads=True)
            slopes = [slope + step for slope, step in zip(slopes, steps, strict=True)]
    products = zip(layers, weights, slopes, strict=True)
    return {name: (weight.detach() * slope).abs() for name, weight, slope in products}


def ablation_importance(model: nn.Module, layers: Sequence[str], split: Split, indices: Tensor) -> dict[str, Tensor]:
    """Change of the number of right answers on the items at `indices` when a weight is 0, shaped as the weights.

    One pass per weight, from its layer on: for tiny networks.
    """
    tails, labels = Tails(model, split, indices), split.labels[indices.to(split.device)]

    def right(layer: str, weight: Tensor) -> Tensor:
        return (tails.logits(layer, {f"{layer}.weight": weight}).argmax(1) == labels).sum()

    importance = {}
    for layer in layers:
        weight = model.get_parameter(f"{layer}.weight").detach()
        without = weight.repeat(weight.numel(), *[1] * weight.dim()).flatten(1).fill_diagonal_(0)
        counts = torch.stack([right(layer, one.reshape(weight.shape)) for one in without])
        importance[layer] = (counts - right(layer, weight)).abs().reshape(weight.shape)
    return importance
