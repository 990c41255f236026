"""Running a model over a split."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from study.data.split import Split

BATCH = 1000


def predict(model: nn.Module, split: Split, batch_size: int = BATCH) -> Tensor:
    """Logits [N, classes] of `model` on every item of `split`, in order, in eval mode.

    The mode of each of its modules is put back after: a frozen BatchNorm stays frozen in a network in training.
    """
    in_training = [module for module in model.modules() if module.training]
    model.eval()
    try:
        with torch.inference_mode():
            logits = torch.cat([model(batch.inputs) for batch in split.batches(batch_size)])
    finally:
        for module in in_training:
            module.training = True
    return logits.clone()


def right(model: nn.Module, split: Split, batch_size: int = BATCH) -> Tensor:
    """Whether `model` classifies each item right, [N] bool."""
    return predict(model, split, batch_size).argmax(1) == split.labels


def accuracy(model: nn.Module, split: Split, batch_size: int = BATCH) -> float:
    """Share of a split's items that `model` classifies right."""
    return right(model, split, batch_size).double().mean().item()
