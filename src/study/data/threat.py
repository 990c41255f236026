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
    move, None: every value of the input; units: of each of these columns, what the radius is counted in (its standard
    deviation, as years and dollars share no radius), None: 1; ranges: of each of these columns, the smallest and the
    largest value, None: `bounds`.
    """

    bounds: tuple[float, float] = (0.0, 1.0)
    radius: float
    norm: Norm = "linf"
    columns: tuple[int, ...] | None = None
    units: tuple[float, ...] | None = None
    ranges: tuple[tuple[float, float], ...] | None = None

    @property
    def size(self) -> str:
        """The radius, as a protocol states it."""
        return f"{self.radius:g}" if self.units is None else f"{self.radius:g} standard deviations"

    def unit(self, inputs: Tensor) -> Tensor:
        """What the radius is counted in, for each value of the last axis of `inputs` [N, ..., V]: [V], like `inputs`.

        >>> ThreatModel(radius=0.1, columns=(2,), units=(12.0,)).unit(torch.zeros(1, 3))
        tensor([ 1.,  1., 12.])
        """
        units = inputs.new_ones(inputs.shape[-1])
        if self.columns is not None and self.units is not None:
            units[list(self.columns)] = units.new_tensor(self.units)
        return units

    def ball(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        """The least and the largest value that each entry of `inputs` [N, ...] may take, like `inputs`.

        >>> low, high = ThreatModel(radius=0.25, columns=(1,)).ball(torch.tensor([[0.5, 0.9]]))
        >>> low.tolist(), high.tolist()
        ([[0.5, 0.6499999761581421]], [[0.5, 1.0]])
        """
        if self.columns is None:
            return (inputs - self.radius).clamp(min=self.bounds[0]), (inputs + self.radius).clamp(max=self.bounds[1])
        moves, least, most = (inputs.new_zeros(inputs.shape[-1]) for _ in range(3))
        moves[list(self.columns)] = 1
        ranges = self.ranges or (self.bounds,) * len(self.columns)
        least[list(self.columns)], most[list(self.columns)] = inputs.new_tensor(ranges).T
        radius = self.radius * self.unit(inputs)
        lower, upper = torch.maximum(inputs - radius, least), torch.minimum(inputs + radius, most)
        return torch.where(moves > 0, lower, inputs), torch.where(moves > 0, upper, inputs)

    def in_l2(self, values: int) -> ThreatModel:
        """With the L2 ball that has the volume of this L-infinity ball; `values`: how many values an input has.

        With `units` both are balls in these units.

        >>> round(ThreatModel(radius=0.15).in_l2(28 * 28).radius, 2)
        2.04
        """
        moving = values if self.columns is None else len(self.columns)
        # (2 r)^d = R^d pi^(d/2) / Gamma(d/2 + 1)
        factor = 2 / math.sqrt(math.pi) * math.exp(math.lgamma(moving / 2 + 1) / moving)
        return replace(self, norm="l2", radius=factor * self.radius)
