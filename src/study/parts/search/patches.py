"""Many patches of the same places of a network, evaluated together on cached activations.

Where all places are weights of the layer that gives the logits, only the logits of the touched classes are computed
anew (`LastLayerPatches`, exact). Scaled columns of one Linear layer are a low-rank change of its output, from which the
rest of the network runs once for all patches together (`ColumnPatches`). Otherwise the network is run from the earliest
patched layer on, vectorised over the patches (`TailPatches`).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import NamedTuple

import torch
from torch import Tensor, nn

from study.data.split import Split
from study.errors import NotApplicable
from study.parts.network.activations import entering
from study.parts.network.layers import output_layer
from study.parts.network.linear_cuts import LinearCut, linear_cut
from study.parts.network.places import Columns, Entries, Places, layer_of
from study.parts.network.tail import ALL, Tail, largest_output
from study.problem.prediction import BATCH
from study.runtime.memory import block_size


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
        budget = block_size(values.device) // self.elements
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
    if isinstance(places, Columns):
        try:
            cut = linear_cut(model, places.layer, split.fetch(indices[:2]).inputs)
        except NotApplicable:
            cut = None
        if cut is not None:
            return ColumnPatches(model, cut, places, split, indices)
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
        return _compared(self.tail.logits(self._places.stacked(self._model, values), rows), self.labels[rows])


class ColumnPatches(Patches):
    """Patches that scale what D neurons send to a Linear layer at which the network can be cut.

    The layer's output changes by sum_k (factor_k - 1) h_k W[:, k]: one product for all patches and items. What follows
    the layer then takes all of them as one batch, so that no weight is stacked.
    """

    def __init__(self, model: nn.Module, cut: LinearCut, places: Columns, split: Split, indices: Tensor) -> None:
        self.labels = split.labels[indices.to(split.device)]
        features = entering(model, cut.name, split, indices)
        with torch.no_grad():
            self._output = cut.layer(features)  # [N, M]
        self._features = features[:, places.index]  # [N, D]
        self._outgoing = cut.layer.weight.detach()[:, places.index].T  # [D, M]
        self._suffix = cut.suffix
        self._elements: int = max(len(places), largest_output(cut.suffix, self._output[:1]))

    @property
    def elements(self) -> int:
        return self._elements

    def _scores(self, values: Tensor, rows: slice) -> Scores:
        steps = (values - 1)[:, None] * self._features[rows]  # [P, n, D]
        output = self._output[rows] + steps @ self._outgoing  # [P, n, M]
        logits: Tensor = self._suffix(output.flatten(0, 1))
        return _compared(logits.view(*output.shape[:2], -1), self.labels[rows])


def _compared(logits: Tensor, labels: Tensor) -> Scores:
    """Scores of the logits [P, N, C] of P networks on items with these labels [N]."""
    target = labels.expand(len(logits), -1)[..., None]
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
