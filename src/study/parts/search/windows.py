"""Windows over ranked weights, layer after layer: a search that takes up the important weights of each layer first."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor

from study.parts.network.places import Entries


class Window(NamedTuple):
    """parameter: whose entries it holds; columns: [k] int64, their numbers among all places."""

    parameter: str
    columns: Tensor


class Windows:
    """Ranked weights, taken up round by round.

    Round g opens the next window of the layers in order from last to first, cyclically: a `share` of the layer's
    weights, after those that its earlier windows held; at the end of a layer the next window begins again at its top.
    The places of all windows so far grow; a place keeps its number.
    """

    def __init__(self, rankings: Mapping[str, Tensor], share: float) -> None:
        """rankings: by parameter, in the order that the layers run, all its entries ([n] int64), the best first."""
        self.names = tuple(rankings)
        self._rankings = list(rankings.values())
        self._share = share
        self._columns = [ranking[:0] for ranking in self._rankings]  # number of each place, by its rank in the layer
        self._round = 0
        self._owner = self._index = self._rankings[0][:0]

    @property
    def places(self) -> Entries:
        """All places so far, D of them; `names` are those of all layers."""
        return Entries(self.names, self._owner, self._index)

    def next(self) -> Window:
        """Opens the next window."""
        cycle, step = divmod(self._round, len(self.names))
        self._round += 1
        layer = len(self.names) - 1 - step
        ranking, known = self._rankings[layer], len(self._columns[layer])
        size = max(1, math.ceil(self._share * len(ranking)))
        ranks = (cycle * size + torch.arange(size, device=ranking.device)) % len(ranking)
        new = ranking[known : min((cycle + 1) * size, len(ranking))]
        fresh = len(self._index) + torch.arange(len(new), device=ranking.device)
        self._columns[layer] = torch.cat([self._columns[layer], fresh])
        self._owner = torch.cat([self._owner, torch.full_like(new, layer)])
        self._index = torch.cat([self._index, new])
        return Window(self.names[layer], self._columns[layer][ranks])
