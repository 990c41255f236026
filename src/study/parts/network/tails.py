"""The ends of a network from each of its layers on: networks that differ in late layers never run the early ones."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.func import functional_call

from study.data.split import Split
from study.errors import NotApplicable
from study.parts.network.activations import activations
from study.parts.network.structure import Structure
from study.parts.network.tail import ALL, largest_output
from study.runtime.memory import block_size

KEPT = {"cpu": 2**28, "cuda": 2**31}
"""Numbers that may be kept of what enters the layers, all of them together, by kind of device; another as a GPU."""


@dataclass(frozen=True)
class _End:
    """name: of the layer that `module` starts with, "" for the whole network; features: [N, ...], what enters it, None
    for the inputs themselves, fetched when they are needed; height: items of one pass."""

    name: str
    module: nn.Module
    features: Tensor | None
    height: int


class Tails:
    """Networks that share all but a few layers with `model`, on the items of `split` at `indices`, one at a time.

    Each runs from its first different layer on (or from an earlier one, where a connection passes that by). What enters
    a layer is computed when it is first needed, and kept where it fits (`KEPT`). Otherwise, and where the network
    cannot be traced, the whole runs. One network after the other, as each starts at a layer of its own, and with the
    items of a pass fitted to the cache a stack of networks under `vmap` is not faster on a CPU (LeNet5: 27 ms per 1000
    items either way); besides, what comes out does not depend on which other networks are evaluated.
    """

    def __init__(self, model: nn.Module, split: Split, indices: Tensor) -> None:
        self._items = split.subset(indices)
        self._room = KEPT.get(split.device.type, KEPT["cuda"])
        self._whole = self._made("", model, None, self._items.fetch(torch.tensor([0])).inputs)
        self._ends: dict[str, _End] = {}  # by the layer that is asked for
        try:
            self._structure: Structure | None = Structure(model)
        except NotApplicable:
            self._structure = None

    def __len__(self) -> int:
        return len(self._items)

    def logits(self, first: str, parameters: Mapping[str, Tensor], rows: slice = ALL) -> Tensor:
        """Logits [n, C] on the items in `rows`, with `parameters` (by name), of the layer `first` or later ones."""
        if first not in self._ends:
            self._ends[first] = self._end(first)
        end, (start, stop, _) = self._ends[first], rows.indices(len(self))
        with torch.no_grad():
            return torch.cat(
                [
                    functional_call(
                        end.module, dict(parameters), (self._entering(end, at, min(at + end.height, stop)),)
                    )
                    for at in range(start, stop, end.height)
                ]
            )

    def _entering(self, end: _End, start: int, stop: int) -> Tensor:
        if end.features is None:
            return self._items.fetch(torch.arange(start, stop)).inputs
        return end.features[start:stop]

    def _end(self, first: str) -> _End:
        """The end at the latest layer up to `first` where the network can be cut in two."""
        layers = [] if self._structure is None else self._structure.layers
        names = [layer.name for layer in layers]
        for layer in reversed(layers[: names.index(first) + 1] if first in names else []):
            known = next((end for end in self._ends.values() if end.name == layer.name), None)
            if known is not None:
                return known
            try:
                prefix, suffix = self._structure.cut(layer.node)  # type: ignore[union-attr]
            except NotApplicable:
                continue
            return self._cut(layer.name, prefix, suffix)
        return self._whole

    def _cut(self, name: str, prefix: nn.Module, suffix: nn.Module) -> _End:
        """The end from the layer `name` on; the whole network where what enters the layer does not fit."""
        with torch.no_grad():
            example = prefix(self._items.fetch(torch.tensor([0])).inputs)
        needed = example.numel() * len(self)
        if needed > self._room:
            return self._whole
        self._room -= needed
        return self._made(name, suffix, activations(prefix, self._items), example)

    def _made(self, name: str, module: nn.Module, features: Tensor | None, example: Tensor) -> _End:
        return _End(name, module, features, max(1, block_size(self._items.device) // largest_output(module, example)))
