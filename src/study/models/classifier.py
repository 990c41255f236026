"""The classifier: normalisation as its first step, then the network."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from study.storage.blueprint import Blueprint, blueprint_of


class Normalise(nn.Module):
    """(x - mean) / std per channel (images [B, C, H, W]) or column (tables [B, C]).

    No persistent buffers, as a checkpoint of the network knows nothing of them; dimensions: of an input without the
    batch.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, mean: Sequence[float], std: Sequence[float], dimensions: int = 3) -> None:
        super().__init__()
        shape = (-1, *[1] * (dimensions - 1))
        self.register_buffer("mean", torch.tensor(mean).view(shape), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(shape), persistent=False)

    def forward(self, inputs: Tensor) -> Tensor:
        return (inputs - self.mean) / self.std


class Classifier(nn.Module):
    """Maps inputs in their natural range (images: [B, C, H, W] in [0, 1]) to logits [B, classes].

    Normalisation is part of the model, so that an attack works on real inputs; a user's checkpoint loads into `net`
    with its own keys. `mean` and `std` (one value per channel or column) are None where inputs need no normalisation;
    `dimensions`: of an input without the batch, 3 for images, 1 for the rows of a table.
    """

    def __init__(
        self,
        net: nn.Module,
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
        dimensions: int = 3,
    ) -> None:
        super().__init__()
        self.normalise = nn.Identity() if mean is None or std is None else Normalise(mean, std, dimensions)
        self.net = net
        scale = {name: None if values is None else list(values) for name, values in (("mean", mean), ("std", std))}
        self.settings = {**scale, "dimensions": dimensions}

    def forward(self, inputs: Tensor) -> Tensor:
        logits: Tensor = self.net(self.normalise(inputs))
        return logits

    @property
    def blueprint(self) -> Blueprint:
        """How to build this model again: see `study.storage.blueprint`."""
        name = f"{type(self).__module__}.{type(self).__qualname__}"
        return {"class": name, "arguments": {"net": blueprint_of(self.net), **self.settings}}
