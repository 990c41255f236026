"""A small transformer encoder for sequences of tokens, such as program text."""

from __future__ import annotations

from typing import Annotated, Literal

import torch
from pydantic import Field, validate_call
from torch import Tensor, nn
from torch.nn import functional

Size = Annotated[int, Field(ge=1, le=100_000)]


class Block(nn.Module):
    """Attention among the tokens, then two dense layers for each; both normalise first and add to what came in."""

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.before, self.between = nn.LayerNorm(width), nn.LayerNorm(width)
        self.entering, self.leaving = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.dense = nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width))
        self.dropout = nn.Dropout(dropout)

    def forward(self, tokens: Tensor, hidden: Tensor) -> Tensor:
        """tokens: [B, L, width]; hidden: [B, 1, 1, L] float, 0 where a token counts, -inf where it is padding."""
        query, key, value = (
            part.unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for part in self.entering(self.before(tokens)).chunk(3, -1)
        )
        attended = functional.scaled_dot_product_attention(query, key, value, attn_mask=hidden)
        tokens = tokens + self.dropout(self.leaving(attended.transpose(1, 2).flatten(-2)))
        deeper: Tensor = tokens + self.dropout(self.dense(self.between(tokens)))
        return deeper


class CodeTransformer(nn.Module):
    """Embeds tokens and their positions, mixes neighbours, runs attention blocks, pools, and classifies.

    Maps [B, length] int64 in [0, num_tokens) to logits [B, num_classes]; padding is neither attended to nor pooled.
    width: dimensions of a token; layers: attention blocks; heads: of each, which share the width; neighbours: tokens
    that a convolution before the blocks mixes, as attention alone learns slowly who stands next to whom (1: none);
    pooling: what is kept of the tokens, their mean, largest values or the first; dropout: share of values set to zero
    in training. The head has one hidden layer with ReLU.
    Source: Vaswani et al., "Attention Is All You Need", 2017; normalisation first as in Xiong et al., ICML 2020.
    """

    @validate_call
    def __init__(
        self,
        *,
        num_tokens: Annotated[int, Field(ge=2)],
        num_classes: Annotated[int, Field(ge=2)],
        length: Size,
        padding: Annotated[int, Field(ge=0)] = 0,
        width: Size = 48,
        layers: Annotated[int, Field(ge=0, le=100)] = 1,
        heads: Size = 4,
        neighbours: Annotated[int, Field(ge=1)] = 5,
        pooling: Literal["mean", "max", "first"] = "max",
        dropout: Annotated[float, Field(ge=0, lt=1)] = 0.1,
    ) -> None:
        super().__init__()
        if width % heads:
            raise ValueError(f"width={width} is not a multiple of heads={heads}")
        if neighbours % 2 == 0:
            raise ValueError(f"neighbours={neighbours} is even; a token stands in their middle")
        self.padding, self.pooling = padding, pooling
        self.embedding = nn.Embedding(num_tokens, width, padding_idx=padding)
        self.positions = nn.Parameter(0.02 * torch.randn(length, width))
        self.mixing = nn.Conv1d(width, width, neighbours, padding=neighbours // 2) if neighbours > 1 else None
        self.blocks = nn.ModuleList(Block(width, heads, dropout) for _ in range(layers))
        self.norm, self.dropout = nn.LayerNorm(width), nn.Dropout(dropout)
        self.head = nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, num_classes))

    def forward(self, tokens: Tensor) -> Tensor:
        filled = tokens == self.padding
        values = self.embedding(tokens) + self.positions
        values = self.dropout(values.masked_fill(filled.unsqueeze(-1), 0.0))
        if self.mixing is not None:
            values = values + functional.relu(self.mixing(values.transpose(1, 2))).transpose(1, 2)
        hidden = torch.zeros_like(values[..., 0]).masked_fill(filled, LOWEST)[:, None, None, :]
        for block in self.blocks:
            values = block(values, hidden)
        logits: Tensor = self.head(self._pooled(self.norm(values), filled.unsqueeze(-1)))
        return logits

    def _pooled(self, values: Tensor, filled: Tensor) -> Tensor:
        """[B, width] of values [B, L, width]; filled: [B, L, 1] bool, the padding."""
        if self.pooling == "first":
            return values[:, 0]
        if self.pooling == "max":
            return values.masked_fill(filled, LOWEST).amax(1)
        counted = (~filled).to(values.dtype)
        return (values * counted).sum(1) / counted.sum(1).clamp(min=1)


LOWEST = -1e9
"""In place of minus infinity, so that a sequence of padding alone stays finite."""
