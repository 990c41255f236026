"""Many patches of the same places of a network, evaluated together on cached activations.

Where all places are weights of the layer that gives the logits, only the logits of the touched classes are computed
anew (`LastLayerPatches`, exact); otherwise the network is run from the earliest patched layer on, vectorised over the
patches (`TailPatches`).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import NamedTuple

import torch
from torch import Tensor, nn

from study.data.split import Split
from study.errors import NotApplicable
from study.parts.network.layers import output_layer
from study.parts.network.places import Entries, Places, layer_of
from study.parts.network.tail import ALL, Tail
from study.problem.prediction import BATCH

ELEMENTS = {"cpu": 2**20, "cuda": 2**24}
"""Numbers that one chunk may hold in its largest tensor: what fits a processor's cache, and a GPU's memory."""


class Scores(NamedTuple):
    """How P patched networks do on N items.

    right: [P, N] bool (a tie with another class counts as wrong); loss: [P, N], the cross-entropy.
    """

    right: Tensor
    loss: Tensor


class Patches(ABC):
    """Patches of the weights at `places`, evaluated on the same items, in the order of `indices`."""

    labels: Tensor

    def scores(self, values: Tensor, rows: slice = ALL) -> Scores:
        """Scores of the networks with `values` [P, D] at the places, on the items in `rows`."""
        start, stop, _ = rows.indices(len(self.labels))
        budget = ELEMENTS.get(values.device.type, ELEMENTS["cuda"]) // self.elements
        height = max(1, min(budget, stop - start))
        blocks = [slice(first, min(first + height, stop)) for first in range(start, stop, height)]
        with torch.no_grad():
            chunks = values.split(max(1, budget // height))
            parts = [[self._scores(chunk, block) for block in blocks] for chunk in chunks]
        return Scores(*(torch.cat([torch.cat([s[k] for s in row], 1) for row in parts]) for k in (0, 1)))

    @property
    @abstractmethod
    def elements(self) -> int:
        """Numbers that the largest tensor holds per patch and item."""

    @abstractmethod
    def _scores(self, values: Tensor, rows: slice) -> Scores:
        """`scores` of so few patches that memory suffices."""


def patches(model: nn.Module, places: Places, split: Split, indices: Tensor) -> Patches:
    """The fastest exact evaluation of patches at `places` on the items of `split` at `indices` [N]."""
    if isinstance(places, Entries):
        try:
            last = output_layer(model, split.fetch(indices[:8]).inputs)
        except NotApplicable:
            last = None
        if set(places.names) <= {f"{last}.weight", f"{last}.bias"}:
            return LastLayerPatches(model, places, split, indices)
    return TailPatches(model, places, split, indices)


class LastLayerPatches(Patches):
    """Patches of weights and biases of the Linear layer that gives the logits.

    Only the logits in touched columns J change: logits = logits_0 + (value - weight) * feature. Of the others the
    largest and the log-sum-exp are computed once, so that the cost depends on |J| and not on the number of classes.
    """

    def __init__(self, model: nn.Module, places: Entries, split: Split, indices: Tensor) -> None:
        features, logits = _entering_and_leaving(model, layer_of(places.names[0]), split, indices)
        self.labels = split.labels[indices.to(split.device)]
        self._present = places.values(model)
        of_bias = places.owner == next((n for n, name in enumerate(places.names) if name.endswith(".bias")), -1)
        column = torch.where(of_bias, places.index, places.index // features.shape[1])
        columns, self._slot = column.unique(return_inverse=True)
        self._features = features[:, places.index % features.shape[1]].T.contiguous()  # [D, N]
        self._features[of_bias] = 1
        self._touched = logits[:, columns].T.contiguous()  # [J, N]
        self._is_label = columns[:, None] == self.labels  # [J, N]
        self._label_slot = self._is_label.int().argmax(0)
        self._label_touched = self._is_label.any(0)
        self._label_logit = logits.gather(1, self.labels[:, None])[:, 0]
        others = logits.scatter(1, self.labels[:, None], -torch.inf).index_fill(1, columns, -torch.inf)
        self._top, self._mass = others.amax(1), others.logsumexp(1)

    @property
    def elements(self) -> int:
        return len(self._touched)

    def _scores(self, values: Tensor, rows: slice) -> Scores:
        steps = values.new_zeros(len(values), len(self._touched), len(self._slot))
        steps[:, self._slot, torch.arange(len(self._slot), device=values.device)] = values - self._present
        touched = self._touched[:, rows] + steps @ self._features[:, rows]  # [P, J, N]
        slot = self._label_slot[rows].expand(len(values), 1, -1)
        label = torch.where(self._label_touched[rows], touched.gather(1, slot)[:, 0], self._label_logit[rows])
        touched = touched.masked_fill(self._is_label[:, rows], -torch.inf)
        top = torch.maximum(touched.amax(1), self._top[rows])
        mass = torch.logaddexp(touched.logsumexp(1), self._mass[rows])
        return _scored(label, top, mass)


class TailPatches(Patches):
    """Patches of any layers: the network from the earliest of them on, on what enters it, cached.

    Raises NotApplicable where the network cannot be traced.
    """

    def __init__(self, model: nn.Module, places: Places, split: Split, indices: Tensor) -> None:
        self._model, self._places = model, places
        self.tail = Tail(model, layer_of(places.names[0]), split, indices)
        self.labels = split.labels[indices.to(split.device)]

    @property
    def elements(self) -> int:
        return self.tail.elements

    def _scores(self, values: Tensor, rows: slice) -> Scores:
        logits = self.tail.logits(self._places.stacked(self._model, values), rows)
        target = self.labels[rows].expand(len(values), -1)[..., None]
        label = logits.gather(2, target)[..., 0]
        others = logits.scatter(2, target, -torch.inf)
        return _scored(label, others.amax(2), others.logsumexp(2))


def _scored(label: Tensor, top: Tensor, mass: Tensor) -> Scores:
    """From the label's logit and the largest and log-sum-exp of all others, [P, N] each."""
    return Scores(label > top, nn.functional.softplus(mass - label))


def _entering_and_leaving(model: nn.Module, name: str, split: Split, indices: Tensor) -> tuple[Tensor, Tensor]:
    """What enters ([N, F]) and leaves ([N, C]) the output layer on the items at `indices`."""
    entered: list[Tensor] = []
    hook = model.get_submodule(name).register_forward_pre_hook(lambda _, values: entered.append(values[0].clone()))
    try:
        with torch.no_grad():
            logits = [model(batch.inputs) for batch in split.batches(BATCH, within=indices)]
    finally:
        hook.remove()
    return torch.cat(entered), torch.cat(logits)
