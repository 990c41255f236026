"""The model of a subject: normalisation as its first step, then the network."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from study.storage.models import Blueprint, blueprint_of


class Normalise(nn.Module):
    """(x - mean) / std per channel; no persistent buffers, as a checkpoint of the network knows nothing of them."""

    mean: Tensor
    std: Tensor

    def __init__(self, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(mean).view(-1, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(-1, 1, 1), persistent=False)

    def forward(self, inputs: Tensor) -> Tensor:
        return (inputs - self.mean) / self.std


class Classifier(nn.Module):
    """Maps inputs in their natural range (images: [B, C, H, W] in [0, 1]) to logits [B, classes].

    Normalisation is part of the model, so that an attack works on real inputs; a user's checkpoint loads into `net`
    with its own keys. `mean` and `std` (one value per channel) are None where inputs need no normalisation.
    """

    def __init__(self, net: nn.Module, mean: Sequence[float] | None = None, std: Sequence[float] | None = None) -> None:
        super().__init__()
        self.normalise = nn.Identity() if mean is None or std is None else Normalise(mean, std)
        self.net = net
        self.scale = {"mean": None if mean is None else list(mean), "std": None if std is None else list(std)}

    def forward(self, inputs: Tensor) -> Tensor:
        logits: Tensor = self.net(self.normalise(inputs))
        return logits

    @property
    def blueprint(self) -> Blueprint:
        """How to build this model again: see `study.storage.models`."""
        return {
            "class": "study.models.classifier.Classifier",
            "arguments": {"net": blueprint_of(self.net), **self.scale},
        }
