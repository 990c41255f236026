"""Many patches of a few weights, evaluated together on cached activations.

A patch gives new values to the same few weights (`Places`). Where all of them lie in the layer that gives the logits,
only the logits of the touched classes are computed anew (`LastLayerPatches`, exact); otherwise the network is run from
the earliest patched layer on, vectorised over the patches (`TailPatches`).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap

from study.data.split import Split
from study.errors import NotApplicable
from study.parts.network.activations import activations
from study.parts.network.structure import Structure, calls_of, last_linear
from study.problem.prediction import BATCH

ELEMENTS = {"cpu": 2**20, "cuda": 2**24}
"""Numbers that one chunk may hold in its largest tensor: what fits a processor's cache, and a GPU's memory."""
ALL = slice(None)


@dataclass(frozen=True)
class Places:
    """D single weights of a network.

    names: layers in the order they run; layer: [D] int64, indices into `names`; index: [D] int64, place in that
    layer's weight, row by row.
    """

    names: tuple[str, ...]
    layer: Tensor
    index: Tensor

    @classmethod
    def pooled(cls, model: nn.Module, names: Sequence[str], positions: Tensor) -> Places:
        """The weights at `positions` [D] of the weights of all layers `names` put one after the other."""
        sizes = torch.tensor([_weight(model, name).numel() for name in names], device=positions.device)
        ends = sizes.cumsum(0)
        layer = torch.bucketize(positions, ends, right=True)
        used, layer_of_used = layer.unique(return_inverse=True)
        starts = (ends - sizes)[layer]
        return cls(tuple(names[number] for number in used.tolist()), layer_of_used, positions - starts)

    def __len__(self) -> int:
        return len(self.index)

    def values(self, model: nn.Module) -> Tensor:
        """Present values of these weights, [D]."""
        result = torch.empty(len(self), device=self.index.device, dtype=_weight(model, self.names[0]).dtype)
        for name, mine in self.by_layer():
            result[mine] = _weight(model, name).reshape(-1)[self.index[mine]]
        return result

    def write(self, model: nn.Module, values: Tensor) -> None:
        """Set these weights of `model`, in place, to `values` [D]."""
        with torch.no_grad():
            for name, mine in self.by_layer():
                weight = _weight(model, name)
                weight.copy_(self._stacked(weight, mine, values[None])[0])

    def stacked(self, model: nn.Module, values: Tensor) -> dict[str, Tensor]:
        """The whole weight of each layer under each patch: name to [P, *weight.shape], for `values` [P, D]."""
        return {name: self._stacked(_weight(model, name), mine, values) for name, mine in self.by_layer()}

    def by_layer(self) -> list[tuple[str, Tensor]]:
        """Each layer's name and which of the D weights ([M] int64) lie in it."""
        return [(name, (self.layer == number).nonzero().flatten()) for number, name in enumerate(self.names)]

    def _stacked(self, weight: Tensor, mine: Tensor, values: Tensor) -> Tensor:
        flat = weight.detach().reshape(1, -1).repeat(len(values), 1)
        flat[:, self.index[mine]] = values[:, mine]
        return flat.reshape(len(values), *weight.shape)


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
    try:
        only_last = places.names == (output_layer(model, split.fetch(indices[:8]).inputs),)
    except NotApplicable:
        only_last = False
    kind = LastLayerPatches if only_last else TailPatches
    return kind(model, places, split, indices)


class LastLayerPatches(Patches):
    """Patches of the Linear layer that gives the logits.

    Only the logits in touched columns J change: logits = logits_0 + (value - weight) * feature. Of the others the
    largest and the log-sum-exp are computed once, so that the cost depends on |J| and not on the number of classes.
    """

    def __init__(self, model: nn.Module, places: Places, split: Split, indices: Tensor) -> None:
        features, logits = _entering_and_leaving(model, places.names[0], split, indices)
        self.labels = split.labels[indices.to(split.device)]
        self._present = places.values(model)
        columns, self._slot = (places.index // features.shape[1]).unique(return_inverse=True)
        self._features = features[:, places.index % features.shape[1]].T.contiguous()  # [D, N]
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
        self.tail = Tail(model, places.names[0], split, indices)
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


class Tail:
    """The end of a network from the layer `name` on (or from an earlier one, where a connection passes that by).

    features: [N, ...], what enters it for the items of `split` at `indices`; elements: size of the largest output of
    one of its modules per item. Raises NotApplicable where the network cannot be traced.
    """

    def __init__(self, model: nn.Module, name: str, split: Split, indices: Tensor) -> None:
        prefix, self.module = _cut(model, name)
        self.features = activations(prefix, split, indices)
        self.elements = _largest_output(self.module, self.features[:1])

    def logits(self, weights: Mapping[str, Tensor], rows: slice = ALL) -> Tensor:
        """Logits [P, n, C] on the items in `rows` under P sets of weights (layer's name to [P, *weight.shape])."""
        named = {f"{name}.weight": weight for name, weight in weights.items()}
        features = self.features[rows]
        result: Tensor = vmap(lambda chosen: functional_call(self.module, chosen, (features,)))(named)
        return result


def output_layer(model: nn.Module, example: Tensor) -> str:
    """Name of the Linear layer whose output, computed once, is the logits of `example` [B, ...].

    Raises NotApplicable where there is none.
    """
    name, module = last_linear(model, example)
    outputs: list[Tensor] = []
    hook = module.register_forward_hook(lambda _, __, output: outputs.append(output.clone()))
    try:
        with torch.no_grad():
            logits = model(example)
    finally:
        hook.remove()
    if len(outputs) != 1 or logits.dim() != 2 or not torch.equal(outputs[0], logits):
        raise NotApplicable("the output of the network's last Linear layer is not its logits")
    return name


def _weight(model: nn.Module, name: str) -> Tensor:
    return model.get_submodule(name).weight  # type: ignore[return-value]


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


def _cut(model: nn.Module, name: str) -> tuple[nn.Module, nn.Module]:
    """Prefix and suffix at the latest layer up to `name` where the network can be cut in two."""
    structure = Structure(model)
    names = [layer.name for layer in structure.layers]
    for candidate in reversed(names[: names.index(name) + 1]):
        node = structure.layer(candidate).node
        try:
            return structure.prefix(node), structure.suffix(node)
        except NotApplicable:
            continue
    return nn.Identity(), model


def _largest_output(module: nn.Module, example: Tensor) -> int:
    calls = calls_of(module, example, lambda part: not list(part.children()))
    return max([example.numel(), *(call.shape.numel() for call in calls)])
