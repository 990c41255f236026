"""Mutation operators on the weights of a network, as mutation testing has them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

Operator = Literal["gauss", "invert", "block"]
LEAST = 0.1


@dataclass(frozen=True)
class Mutation:
    """Mutates each of some weights with a probability, and one of them where that chooses none.

    operator: `gauss` adds N(0, (sigma * max(|w|, 0.1 * spread))^2), `invert` turns the sign, `block` sets 0; rate: that
    probability; spreads: by parameter, the standard deviation of its original entries ([]).
    """

    operator: Operator
    rate: float
    sigma: float
    spreads: Mapping[str, Tensor]
    generator: torch.Generator

    def __call__(self, values: Tensor, parameter: str) -> Tensor:
        """The values [P, k] of entries of `parameter`, mutated."""
        rows, entries = values.shape
        chosen = torch.rand(rows, entries, generator=self.generator) < self.rate
        forced = torch.randint(entries, (rows,), generator=self.generator)
        chosen[torch.arange(rows), forced] |= ~chosen.any(1)
        return torch.where(chosen.to(values.device), self._replaced(values, parameter), values)

    def _replaced(self, values: Tensor, parameter: str) -> Tensor:
        if self.operator == "invert":
            return -values
        if self.operator == "block":
            return torch.zeros_like(values)
        noise = torch.randn(values.shape, generator=self.generator).to(values)
        return values + self.sigma * torch.maximum(values.abs(), LEAST * self.spreads[parameter]) * noise
