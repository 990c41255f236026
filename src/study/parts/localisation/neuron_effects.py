"""What single neurons could do for failing inputs, and which values do it, after VeRe (Ma et al., ICSE 2024)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from study.parts.localisation.margin_bounds import margin_bounds
from study.parts.network.hidden_layer import SplitAtLayer


@dataclass(frozen=True)
class Effects:
    """What each of N neurons could do for B items, by the lower bounds of their margins.

    items: [B] int64; edges: [N, K + 1] of K intervals; bounds: [N, B, K, 2] at both ends of each; margins: [B], label's
    logit minus the predicted one's; present: [B, N], the neurons' values.
    """

    items: Tensor
    edges: Tensor
    bounds: Tensor
    margins: Tensor
    present: Tensor

    @classmethod
    def of(cls, pool: SplitAtLayer, items: Tensor, edges: Tensor) -> Effects:
        """The effects on the items at `items` of a split, which the network gets wrong."""
        logits, present = pool.logits[items], pool.values[items]
        wanted, given = (functional.one_hot(each, logits.shape[1]) for each in (pool.labels[items], logits.argmax(1)))
        rows = (wanted - given).to(logits)
        bounds = margin_bounds(pool.layer.suffix, present, rows, edges)
        return cls(items, edges, bounds, (rows * logits).sum(1), present)

    @property
    def verified(self) -> Tensor:
        """In which intervals an item is right for sure against the class now predicted, [N, B, K] bool."""
        return (self.bounds > 0).all(3)

    def significance(self) -> Tensor:
        """Sum over the items of each neuron's largest gain, scaled to [0, 1] over the neurons of an item: [N]."""
        gain = (self.bounds.amax((2, 3)) - self.margins).clamp(min=0)
        low, high = gain.amin(0), gain.amax(0)
        return torch.where(high > low, (gain - low) / (high - low), 0.0).sum(1)

    def targets(self, number: int) -> tuple[Tensor, Tensor]:
        """The interval that neuron `number` should send on for each item: its ends, [B] each.

        The verified interval with an end nearest to the present value; where none is verified, the end of an interval
        that gains most; where none gains, the present value.
        """
        present, bounds = self.present[:, number], self.bounds[number]
        ends = torch.stack([self.edges[number, :-1], self.edges[number, 1:]], dim=1)  # [K, 2]
        distance = (ends - present[:, None, None]).abs().amin(2).masked_fill(~self.verified[number], torch.inf)
        nearest = ends[distance.argmin(1)]
        most, place = bounds.flatten(1).max(1)
        point = torch.where(most > self.margins, ends.flatten()[place], present)
        verified = self.verified[number].any(1)[:, None]
        lower, upper = torch.where(verified, nearest, point[:, None]).unbind(1)
        return lower, upper
