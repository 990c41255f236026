"""A multi-layer perceptron."""

from __future__ import annotations

import math
from typing import Annotated

from pydantic import Field, validate_call
from torch import Tensor, nn

Width = Annotated[int, Field(ge=1, le=100_000)]


class MLP(nn.Module):
    """Flattens its input and runs dense layers of the given widths with ReLU between, with BatchNorm1d if asked.

    Maps [B, ...] to logits [B, num_classes].
    """

    @validate_call
    def __init__(
        self,
        *,
        input_shape: tuple[int, ...],
        num_classes: Annotated[int, Field(ge=2)],
        widths: list[Width] = [64, 32],  # noqa: B006 (pydantic copies it)
        batch_norm: bool = False,
    ) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.Flatten()]
        inside = math.prod(input_shape)
        for width in widths:
            layers.append(nn.Linear(inside, width))
            layers += [nn.BatchNorm1d(width)] if batch_norm else []
            layers.append(nn.ReLU())
            inside = width
        self.layers = nn.Sequential(*layers, nn.Linear(inside, num_classes))

    def forward(self, inputs: Tensor) -> Tensor:
        logits: Tensor = self.layers(inputs)
        return logits
