"""A small network for token sequences: the mean of their embeddings, then dense layers."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, validate_call
from torch import Tensor, nn

Width = Annotated[int, Field(ge=1, le=100_000)]


class BagOfTokens(nn.Module):
    """Embeds each token in `width` dimensions, takes the mean without padding, and runs dense layers with ReLU between.

    Maps [B, L] int64 in [0, num_tokens) to logits [B, num_classes]; a sequence of padding alone has the mean 0.
    """

    @validate_call
    def __init__(
        self,
        *,
        num_tokens: Annotated[int, Field(ge=2)],
        num_classes: Annotated[int, Field(ge=2)],
        padding: Annotated[int, Field(ge=0)] | None = 0,
        width: Width = 64,
        widths: list[Width] = [64],  # noqa: B006 (pydantic copies it)
    ) -> None:
        super().__init__()
        self.padding = padding
        self.embedding = nn.Embedding(num_tokens, width, padding_idx=padding)
        layers: list[nn.Module] = []
        inside = width
        for outside in widths:
            layers += [nn.Linear(inside, outside), nn.ReLU()]
            inside = outside
        self.layers = nn.Sequential(*layers, nn.Linear(inside, num_classes))

    def forward(self, tokens: Tensor) -> Tensor:
        embedded = self.embedding(tokens)
        if self.padding is None:
            mean = embedded.mean(1)
        else:
            counted = (tokens != self.padding).unsqueeze(-1).to(embedded.dtype)
            mean = (embedded * counted).sum(1) / counted.sum(1).clamp(min=1)
        logits: Tensor = self.layers(mean)
        return logits
