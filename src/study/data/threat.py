"""What an attack may do to an input; every data set that can be attacked states it."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor

Norm = Literal["linf", "l2"]


@dataclass(frozen=True, kw_only=True)
class ThreatModel:
    """Changes of an input that an attack may make.

    bounds: smallest and largest value that an input can have; radius: of the ball around the input, in units of the
    inputs; norm: of that ball (a data set states one in L-infinity); columns: the columns of a table's rows that may
    move, None: every value of the input.
    """

    bounds: tuple[float, float] = (0.0, 1.0)
    radius: float
    norm: Norm = "linf"
    columns: tuple[int, ...] | None = None

    def ball(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        """The least and the largest value that each entry of `inputs` [N, ...] may take, like `inputs`.

        >>> low, high = ThreatModel(radius=0.25, columns=(1,)).ball(torch.tensor([[0.5, 0.9]]))
        >>> low.tolist(), high.tolist()
        ([[0.5, 0.6499999761581421]], [[0.5, 1.0]])
        """
        lower = (inputs - self.radius).clamp(min=self.bounds[0])
        upper = (inputs + self.radius).clamp(max=self.bounds[1])
        if self.columns is None:
            return lower, upper
        moves = torch.zeros(inputs.shape[-1], dtype=torch.bool, device=inputs.device)
        moves[list(self.columns)] = True
        return torch.where(moves, lower, inputs), torch.where(moves, upper, inputs)

    def in_l2(self, values: int) -> ThreatModel:
        """With the L2 ball that has the volume of this L-infinity ball; `values`: how many values an input has.

        >>> round(ThreatModel(radius=0.15).in_l2(28 * 28).radius, 2)
        2.04
        """
        moving = values if self.columns is None else len(self.columns)
        # (2 r)^d = R^d pi^(d/2) / Gamma(d/2 + 1)
        factor = 2 / math.sqrt(math.pi) * math.exp(math.lgamma(moving / 2 + 1) / moving)
        return replace(self, norm="l2", radius=factor * self.radius)
