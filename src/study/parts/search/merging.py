"""Mixing several patches of one layer into one, by coefficients that a search looks for.

After DistrRep (Li Calsi et al., ICST 2023), read off jst-qaml/eAI-Repair-Toolkit.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import torch
from torch import Tensor, nn

from study.parts.network.places import Entries
from study.parts.selection.risk import Risk
from study.runtime.memory import block_size

Coding = Literal["interp", "reference"]


@dataclass(frozen=True)
class Merge:
    """M patches of entries of the same parameters, to be mixed by M + K coefficients from 0 to 1.

    places: the U entries that any of them changes; present: [U], the model's values; proposed: [M, U], the patches'
    (`present` where one leaves an entry); member: [M, U] bool, which entries each changes; coding: see `_line`.
    K entries are shared, changed by two patches or more: each has a coefficient of its own, after those of the patches.
    """

    places: Entries
    present: Tensor
    proposed: Tensor
    member: Tensor
    coding: Coding = "interp"

    @classmethod
    def of(cls, model: nn.Module, repairs: Sequence[tuple[Entries, Tensor]], coding: Coding = "interp") -> Merge:
        """Of patches of one and the same parameter of `model`: each its entries and their values [D]."""
        places, _ = repairs[0]
        index, slots = torch.cat([entries.index for entries, _ in repairs]).unique(return_inverse=True)
        union = Entries(places.names, torch.zeros_like(index), index)
        present = union.values(model)
        proposed = present.repeat(len(repairs), 1)
        member = torch.zeros_like(proposed, dtype=torch.bool)
        sizes = [len(entries) for entries, _ in repairs]
        for number, (mine, (_, values)) in enumerate(zip(slots.split(sizes), repairs, strict=True)):
            proposed[number, mine], member[number, mine] = values, True
        return cls(union, present, proposed, member, coding)

    @cached_property
    def shared(self) -> Tensor:
        """Which of the U entries are shared, [U] bool."""
        return self.member.sum(0) > 1

    def __len__(self) -> int:
        return len(self.member) + int(self.shared.sum())

    def values(self, coefficients: Tensor) -> Tensor:
        """Values [P, U] of the entries under coefficients [P, M + K]."""
        start, end, slot = self._line
        return torch.lerp(start, end, coefficients[:, slot])

    def summed(self) -> Tensor:
        """Values [U] where what all patches add is added: the merge that searches nothing."""
        return self.present + (self.proposed - self.present).sum(0)

    @cached_property
    def _line(self) -> tuple[Tensor, Tensor, Tensor]:
        """Value at coefficient 0 and at 1, and the number of its coefficient, of each entry, [U] each.

        A shared entry runs from the smallest to the largest of the model's and all patches' values. Any other runs from
        the model's value to its patch's (`interp`); `reference`, the toolkit: from the smaller of these to the larger.
        """
        whole = torch.cat([self.present[None], self.proposed])
        low, high = whole.amin(0), whole.amax(0)
        owner = self.member.int().argmax(0)
        mine = self.proposed.gather(0, owner[None])[0]
        slot = torch.where(self.shared, len(self.member) - 1 + self.shared.cumsum(0), owner)
        if self.coding == "reference":
            return low, high, slot
        return torch.where(self.shared, low, self.present), torch.where(self.shared, high, mine), slot


class MergedRisk:
    """The risk score of the models that coefficients give (see `Risk`), to be maximised.

    -1 where a coefficient lies outside [0, 1]. The layer is the one that gives the logits; only those of the
    touched classes are computed anew, from the features that enter it.
    """

    OUTSIDE = -1.0

    def __init__(self, merge: Merge, layer: nn.Linear, features: Tensor, labels: Tensor, risk: Risk) -> None:
        """features: [N, F]; labels: [N]."""
        self.merge = merge
        self.ceiling = float(risk.perfect(labels, layer.out_features))
        costs = risk.costs(labels, layer.out_features)
        with torch.no_grad():
            logits = layer(features)
        columns, self._slot = (merge.places.index // features.shape[1]).unique(return_inverse=True)
        self._features = features[:, merge.places.index % features.shape[1]].T.contiguous()  # [U, N]
        self._touched = logits[:, columns].T.contiguous()  # [J, N]
        self._top, top_class = logits.index_fill(1, columns, -torch.inf).max(1)  # of the other classes
        self._touched_costs, self._top_cost = costs[labels][:, columns].T.contiguous(), costs[labels, top_class]

    @property
    def device(self) -> torch.device:
        return self.merge.present.device

    def __call__(self, values: Tensor, floors: Tensor | None = None) -> Tensor:
        """Scores [P] float64 under the coefficients `values` [P, M + K], whatever the floors."""
        inside = ((values >= 0) & (values <= 1)).all(1)
        scores = self._top_cost.new_full((len(values),), self.OUTSIDE)
        scores[inside] = self.of_values(self.merge.values(values[inside]))
        return scores

    def of_values(self, values: Tensor) -> Tensor:
        """Scores [P] float64 of the models with `values` [P, U] at the places of the merge."""
        size = max(1, block_size(values.device) // self._touched.numel())
        return torch.cat([self.ceiling - self._cost(chunk) for chunk in values.split(size)])

    def _cost(self, values: Tensor) -> Tensor:
        """What the errors of so few models cost that memory suffices, [P]."""
        steps = values.new_zeros(len(values), len(self._touched), len(self._slot))
        steps[:, self._slot, torch.arange(len(self._slot), device=values.device)] = values - self.merge.present
        best, slot = (self._touched + steps @ self._features).max(1)  # [P, N]
        of_touched = self._touched_costs.expand(len(values), -1, -1).gather(1, slot[:, None])[:, 0]
        return torch.where(best > self._top, of_touched, self._top_cost).sum(1)
