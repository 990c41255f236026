"""Running a model over a split."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from study.subject.data.split import Split

BATCH = 1000


def predict(model: nn.Module, split: Split, batch_size: int = BATCH) -> Tensor:
    """Logits [N, classes] of `model` on every item of `split`, in order, in eval mode; its mode is put back after."""
    was_training = model.training
    model.eval()
    try:
        with torch.inference_mode():
            logits = torch.cat([model(batch.inputs) for batch in split.batches(batch_size)])
    finally:
        model.train(was_training)
    return logits.clone()


def right(model: nn.Module, split: Split, batch_size: int = BATCH) -> Tensor:
    """Whether `model` classifies each item right, [N] bool."""
    return predict(model, split, batch_size).argmax(1) == split.labels


def accuracy(model: nn.Module, split: Split, batch_size: int = BATCH) -> float:
    """Share of a split's items that `model` classifies right."""
    return right(model, split, batch_size).double().mean().item()
