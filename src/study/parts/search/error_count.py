"""How many inputs patched networks get wrong, and their loss: part by part, until one must lose against others."""

from __future__ import annotations

import math
from bisect import insort
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from study.data.split import Split
from study.parts.network.places import Entries, layer_of
from study.parts.network.tails import Tails
from study.parts.search.growing_parts import growing_parts

Tally = tuple[int, float]
"""Wrong answers and summed loss, of one network; the smaller the better."""


class Errors(NamedTuple):
    """wrong: [P] int64, items classified wrong; loss: [P] float64, summed cross-entropy (infinite where it is NaN).

    Fewer wrong answers are better, with equally many less loss.
    """

    wrong: Tensor
    loss: Tensor

    def tallies(self) -> list[Tally]:
        """One pair per network."""
        return list(zip(self.wrong.tolist(), self.loss.tolist(), strict=True))


class ErrorCount:
    """Errors of patched networks on the items of `split` at `indices`, the hardest first.

    All networks run on the first part of the items; then one after the other, the most promising first, on the rest,
    until it is worse than enough others, which it then stays. That drops nothing else, and changes no number of what it
    does not drop. evaluations: networks so far; items: how many of theirs were evaluated.
    """

    PARTS = (0.05, 0.1, 0.2, 0.5, 1.0)

    def __init__(self, model: nn.Module, split: Split, indices: Tensor) -> None:
        self._model, self._tails = model, Tails(model, split, indices)
        self._labels = split.labels[indices.to(split.device)]
        self._parts = growing_parts(len(indices), self.PARTS)
        self.items = self.evaluations = 0

    def __call__(self, places: Entries, values: Tensor, rivals: Errors | None = None) -> Errors:
        """Errors of the networks with `values` [P, D] at `places`.

        Of a network that is worse than as many others as there are `rivals` ([R] each; None: no limit), among these and
        the networks themselves, only those of some items, but enough to see it.
        """
        networks = _Networks(self._model, places, values)
        tallies = [self._run(networks, number, self._parts[0]) for number in range(len(values))]
        best = [] if rivals is None else sorted(rivals.tallies())
        for number in sorted(range(len(values)), key=tallies.__getitem__):
            for rows in self._parts[1:]:
                if best and tallies[number] > best[-1]:
                    break
                wrong, loss = self._run(networks, number, rows)
                tallies[number] = (tallies[number][0] + wrong, tallies[number][1] + loss)
            if best:
                insort(best, tallies[number])
                best.pop()
        self.evaluations += len(values)
        counts = torch.tensor([count for count, _ in tallies], device=values.device)
        losses = torch.tensor([loss for _, loss in tallies], dtype=torch.float64, device=values.device)
        return Errors(counts, losses)

    def _run(self, networks: _Networks, number: int, rows: slice) -> Tally:
        """The errors of one network on the items in `rows`."""
        self.items += rows.stop - rows.start
        logits = self._tails.logits(*networks[number], rows)
        losses = functional.cross_entropy(logits, self._labels[rows], reduction="none").double()
        losses = losses.nan_to_num(nan=math.inf, posinf=math.inf)
        wrong = (logits.argmax(1) != self._labels[rows]) | losses.isinf()
        count, loss = torch.stack([wrong.sum(), losses.sum()]).tolist()  # one wait for the device
        return int(count), loss


class _Networks:
    """The parameters in which each of P patched networks differs from the model."""

    def __init__(self, model: nn.Module, places: Entries, values: Tensor) -> None:
        self._values, self._index = values, places.index
        self._parameters = [model.get_parameter(name).detach() for name in places.names]
        self._mine = places.by_parameter()
        changed = values != places.values(model)
        by_layer = torch.stack([changed[:, mine].any(1) for _, mine in self._mine], 1)
        self._differing = [[layer for layer, differs in enumerate(row) if differs] for row in by_layer.tolist()]

    def __getitem__(self, number: int) -> tuple[str, dict[str, Tensor]]:
        """The first layer in which a network differs (the last layer, if none), and its parameters there and later."""
        layers = self._differing[number]
        first = self._mine[layers[0] if layers else -1][0]
        return layer_of(first), dict(self._patched(number, layer) for layer in layers)

    def _patched(self, number: int, layer: int) -> tuple[str, Tensor]:
        name, mine = self._mine[layer]
        parameter = self._parameters[layer].clone(memory_format=torch.contiguous_format)
        parameter.view(-1)[self._index[mine]] = self._values[number, mine]
        return name, parameter
