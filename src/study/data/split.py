"""A split of a data set: inputs, labels and sensitive groups, fetched a whole batch at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence, Sized
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from study.errors import UsageError


class Batch(NamedTuple):
    """Some items of a split.

    inputs: [B, ...] float32 in their natural range ([0, 1] for images); labels: [B] int64; indices: [B] int64, the
    items' places in the split; groups: [B] int64, the sensitive group of each item, or None.
    """

    inputs: Tensor
    labels: Tensor
    indices: Tensor
    groups: Tensor | None = None


class Inputs(Protocol):
    """Where the inputs of a split lie: in memory (a tensor is one), or in files that are read on demand."""

    def __len__(self) -> int: ...

    def __getitem__(self, indices: Tensor) -> Tensor: ...


Change = Callable[[Tensor, torch.Generator | None], Tensor]
"""Gives the inputs at some indices of a split, changed in a way that keeps their label.

[M] int64 to [M, ...]: drawn anew with a generator, the same at every call without one."""


class Split:
    """Items of one of the four splits (train, validation, repair, test).

    `labels` [N] and `groups` [N] (or None) are always in memory; the inputs need not be. `variants`: ways to change the
    inputs that keep their label, by the name of the change.
    """

    def __init__(
        self,
        name: str,
        inputs: Inputs,
        labels: Tensor,
        groups: Tensor | None = None,
        variants: Mapping[str, Change] | None = None,
    ) -> None:
        sizes = {"inputs": len(inputs), "labels": len(labels), "groups": len(labels if groups is None else groups)}
        if len(set(sizes.values())) > 1:
            raise ValueError(f"split {name}: as many of each are needed, not {sizes}")
        self.name = name
        self.inputs = inputs
        self.labels = labels
        self.groups = groups
        self.variants = dict(variants or {})

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def device(self) -> torch.device:
        return self.labels.device

    def fetch(self, indices: Tensor) -> Batch:
        """The items at `indices` ([B] int64, on the CPU or the split's device), in that order."""
        indices = indices.to(self.device)
        groups = None if self.groups is None else self.groups[indices]
        return Batch(self.inputs[indices].to(self.device), self.labels[indices], indices, groups)

    def batches(
        self,
        size: int,
        generator: torch.Generator | None = None,
        *,
        drop_last: bool = False,
        within: Tensor | None = None,
    ) -> Batches:
        """Iterate over the split in batches, in order or, with a generator, newly shuffled at each pass.

        `within` ([M] int64) confines the batches to these items.
        """
        return Batches(self, size, generator, drop_last, within)

    def tensors(self) -> Batch:
        """All items at once; raises UsageError where the inputs do not lie in memory."""
        inputs = torch.cat(self.inputs.tensors) if isinstance(self.inputs, Concatenated) else self.inputs
        if not isinstance(inputs, Tensor):
            raise UsageError(
                f"the {self.name} split ({len(self)} items) is read from files, and this approach needs it in memory: "
                "raise dataset.in_memory_gib, or choose a smaller dataset.limit"
            )
        return Batch(inputs, self.labels, torch.arange(len(self), device=self.device), self.groups)

    def subset(self, indices: Tensor, name: str | None = None) -> Split:
        """A split of the items at `indices`, in that order."""
        indices = indices.to(self.device)
        in_memory = isinstance(self.inputs, Tensor | Concatenated)
        inputs = self.inputs[indices] if in_memory else Selected(self.inputs, indices)
        groups = None if self.groups is None else self.groups[indices]
        variants = {change: narrowed(of, indices) for change, of in self.variants.items()}
        return Split(name or self.name, inputs, self.labels[indices], groups, variants)

    def to(self, device: torch.device) -> Split:
        """The same split with everything that lies in memory on `device`."""
        inputs = self.inputs.to(device) if isinstance(self.inputs, Tensor | Concatenated) else self.inputs
        groups = None if self.groups is None else self.groups.to(device)
        return Split(self.name, inputs, self.labels.to(device), groups, self.variants)


def narrowed(change: Change, chosen: Tensor) -> Change:
    """The change of a split, for the items at `chosen` ([M] int64) by their places there."""
    return lambda indices, generator: change(chosen[indices.to(chosen.device)], generator)


class Selected:
    """Some of the inputs of a split that lies in files."""

    def __init__(self, source: Inputs, indices: Tensor) -> None:
        self.source = source
        self.indices = indices

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, indices: Tensor) -> Tensor:
        return self.source[self.indices[indices.to(self.indices.device)]]


class Batches:
    """The batches of a split, restartable: what `Split.batches` returns. Lightning takes it as a loader.

    Where they are shuffled, a single item that would be left over joins the batch before: BatchNorm cannot be trained
    on one.
    """

    def __init__(
        self, split: Split, size: int, generator: torch.Generator | None, drop_last: bool, within: Tensor | None
    ) -> None:
        if size < 1:
            raise ValueError(f"a batch needs at least one item, not {size}")
        self.split = split
        self.size = size
        self.generator = generator
        self.drop_last = drop_last
        self.within = within
        self.joins_last = generator is not None

    @property
    def count(self) -> int:
        """Number of items of one pass."""
        return len(self.split) if self.within is None else len(self.within)

    @property
    def sizes(self) -> list[int]:
        """Number of items of each batch of one pass."""
        whole, rest = divmod(self.count, self.size)
        if self.drop_last or not rest:
            return [self.size] * whole
        if rest == 1 and whole and self.joins_last:
            return [self.size] * (whole - 1) + [self.size + 1]
        return [self.size] * whole + [rest]

    def __len__(self) -> int:
        return len(self.sizes)

    def cut(self, order: Tensor) -> Sequence[Tensor]:
        """The items of each batch of a pass that takes them in this order ([`count`])."""
        sizes = self.sizes
        batches: Sequence[Tensor] = order[: sum(sizes)].split(sizes)
        return batches

    def __iter__(self) -> Iterator[Batch]:
        if self.generator is None:
            order = torch.arange(self.count)
        else:
            order = torch.randperm(self.count, generator=self.generator)
        if self.within is not None:
            order = self.within.cpu()[order]
        for indices in self.cut(order):
            yield self.split.fetch(indices)


def joined(name: str, parts: Sequence[Split]) -> Split:
    """One split of several, in order; no input is copied. Where one of them lies in files, so does the whole.

    Its variants are those that all parts have.
    """
    groups = [part.groups for part in parts]
    tensors = [part.inputs for part in parts if isinstance(part.inputs, Tensor)]
    in_memory = len(tensors) == len(parts)
    inputs = Concatenated(tensors) if in_memory else Chained([part.inputs for part in parts])
    together = None if any(g is None for g in groups) else torch.cat([g for g in groups if g is not None])
    common = set.intersection(*(set(part.variants) for part in parts))
    variants = {change: _chained([part.variants[change] for part in parts], parts) for change in sorted(common)}
    return Split(name, inputs, torch.cat([part.labels for part in parts]), together, variants)


def _chained(changes: Sequence[Change], parts: Sequence[Split]) -> Change:
    """One change of several splits, one after the other."""
    starts = _starts(parts)
    return lambda indices, generator: _gathered(starts, indices, lambda part, places: changes[part](places, generator))


class Concatenated:
    """The inputs of several splits that lie in memory, one after the other: their concatenation without its copy."""

    def __init__(self, tensors: Sequence[Tensor]) -> None:
        self.tensors = list(tensors)
        starts = torch.tensor([0, *(len(tensor) for tensor in tensors)]).cumsum(0)
        self.starts = starts.to(self.tensors[0].device)

    def __len__(self) -> int:
        return sum(map(len, self.tensors))

    def __getitem__(self, indices: Tensor) -> Tensor:
        first = self.tensors[0]
        places = indices.to(first.device)
        owner = torch.bucketize(places, self.starts[1:], right=True)
        fetched = first.new_empty(len(places), *first.shape[1:])
        for number, tensor in enumerate(self.tensors):
            mine = (owner == number).nonzero().flatten()
            fetched[mine] = tensor[places[mine] - self.starts[number]]
        return fetched

    def to(self, device: torch.device) -> Concatenated:
        """The same with its tensors on `device`."""
        return Concatenated([tensor.to(device) for tensor in self.tensors])


class Chained:
    """The inputs of several splits, one after the other."""

    def __init__(self, sources: Sequence[Inputs]) -> None:
        self.sources = sources
        self.starts = _starts(sources)

    def __len__(self) -> int:
        return int(self.starts[-1])

    def __getitem__(self, indices: Tensor) -> Tensor:
        return _gathered(self.starts, indices, lambda number, places: self.sources[number][places])


def _starts(parts: Sequence[Sized]) -> Tensor:
    """[P + 1] int64: where each part begins in all of them, and their size."""
    return torch.tensor([0, *(len(part) for part in parts)]).cumsum(0)


def _gathered(starts: Tensor, indices: Tensor, read: Callable[[int, Tensor], Tensor]) -> Tensor:
    """What lies at `indices` of several parts; read: of the part of this number, what lies at places [M] within it."""
    places = indices.cpu()
    owner = torch.bucketize(places, starts[1:], right=True)
    positions: list[Tensor] = []
    fetched: list[Tensor] = []
    for number in owner.unique().tolist():
        mine = (owner == number).nonzero().flatten()
        positions.append(mine)
        fetched.append(read(number, places[mine] - starts[number]).to(places.device))
    return torch.cat(fetched)[torch.cat(positions).argsort()]
