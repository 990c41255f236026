"""Running a model over a split."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from study.data.split import Split
from study.runtime.progress import Progress

BATCH = 1000


def predict(model: nn.Module, split: Split, batch_size: int = BATCH) -> Tensor:
    """Logits [N, classes] of `model` on every item of `split`, in order, in eval mode.

    The mode of each of its modules is put back after: a frozen BatchNorm stays frozen in a network in training.
    """
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    batches, outputs = split.batches(batch_size), []
    try:
        with torch.inference_mode(), Progress(f"predict the {split.name} split", len(batches), "batches") as progress:
            for batch in batches:
                outputs.append(model(batch.inputs))
                progress.advance()
            logits = torch.cat(outputs)
    finally:
        model.train(modes[0][1])  # some networks fuse or split their weights when they are told
        for module, training in modes:
            module.training = training
    return logits.clone()


def right(model: nn.Module, split: Split, batch_size: int = BATCH) -> Tensor:
    """Whether `model` classifies each item right, [N] bool."""
    return predict(model, split, batch_size).argmax(1) == split.labels


def accuracy(model: nn.Module, split: Split, batch_size: int = BATCH) -> float:
    """Share of a split's items that `model` classifies right."""
    return right(model, split, batch_size).double().mean().item()
