"""Splits in memory and in files, and their batches."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from study.data.split import Batch, Batches, Concatenated, Split, joined
from study.errors import UsageError
from study.runtime.randomness import stream


class Files:
    """Inputs that are read on demand: item i is [i, 10 i]. Counts what is read."""

    def __init__(self, start: int, count: int) -> None:
        self.start, self.count = start, count
        self.read: list[int] = []

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, indices: Tensor) -> Tensor:
        assert all(0 <= index < self.count for index in indices.tolist())
        self.read += indices.tolist()
        values = (indices + self.start).float()
        return torch.stack([values, 10 * values], 1)


def split(count: int = 10, start: int = 0, lazy: bool = False, groups: bool = False) -> Split:
    """Item i has the input [i, 10 i], the label i and the group i % 2, counted from `start`."""
    numbers = torch.arange(start, start + count)
    inputs = torch.stack([numbers.float(), 10.0 * numbers], 1)
    return Split("train", Files(start, count) if lazy else inputs, numbers, numbers % 2 if groups else None)


def check(batch: Batch, labels: list[int], grouped: bool = False) -> None:
    """The batch holds the items with these labels, in that order."""
    assert batch.labels.tolist() == labels
    assert batch.inputs.tolist() == [[label, 10 * label] for label in labels]
    if grouped:
        assert batch.groups is not None and batch.groups.tolist() == [label % 2 for label in labels]


def labels(batches: Batches) -> list[list[int]]:
    return [batch.labels.tolist() for batch in batches]


def test_joined_splits_keep_the_changes_that_all_have() -> None:
    def of(start: int, *names: str) -> Split:
        whole = split(4, start)
        inputs = whole.tensors().inputs
        changes = {name: lambda indices, generator: -inputs[indices] - int(generator is not None) for name in names}
        return Split("part", inputs, whole.labels, variants=changes)

    whole = joined("whole", [of(0, "signs", "other"), of(4, "signs").subset(torch.tensor([3, 1])), of(8, "signs")])
    (name, change), indices = *whole.variants.items(), torch.tensor([9, 4, 0, 5])
    assert name == "signs"
    assert change(indices, None)[:, 0].tolist() == [-11, -7, 0, -5]
    assert change(indices, torch.Generator())[:, 0].tolist() == [-12, -8, -1, -6]
    assert not joined("whole", [of(0, "signs"), split()]).variants


def test_parts_of_different_length_are_refused() -> None:
    with pytest.raises(ValueError, match="split x: .*'labels': 3"):
        Split("x", torch.rand(2, 1), torch.arange(3))
    with pytest.raises(ValueError, match="split x: .*'groups': 1"):
        Split("x", torch.rand(2, 1), torch.arange(2), torch.arange(1))


@pytest.mark.parametrize("lazy", [False, True])
def test_fetch_and_subset_keep_the_order_asked_for(lazy: bool) -> None:
    whole = split(lazy=lazy, groups=True)
    check(whole.fetch(torch.tensor([7, 2, 2])), [7, 2, 2], grouped=True)
    part = whole.subset(torch.tensor([9, 4, 6]), name="part")
    assert (part.name, len(part)) == ("part", 3)
    batch = part.fetch(torch.tensor([2, 0]))
    check(batch, [6, 9], grouped=True)
    assert batch.indices.tolist() == [2, 0]
    check(part.subset(torch.tensor([1])).fetch(torch.tensor([0])), [4], grouped=True)
    assert part.subset(torch.tensor([1])).name == "part"


def test_lazy_inputs_are_read_only_when_fetched() -> None:
    whole = split(lazy=True)
    part = whole.subset(torch.tensor([3, 8])).subset(torch.tensor([1]))
    assert isinstance(whole.inputs, Files) and whole.inputs.read == []
    part.fetch(torch.tensor([0]))
    assert whole.inputs.read == [8]


def test_batches_in_order_hold_every_item_once() -> None:
    batches = split().batches(4)
    assert labels(batches) == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]
    assert len(batches) == 3
    assert labels(batches) == labels(batches)
    for batch in batches:
        check(batch, batch.indices.tolist())


def test_drop_last_drops_only_what_is_incomplete() -> None:
    assert labels(split().batches(4, drop_last=True)) == [[0, 1, 2, 3], [4, 5, 6, 7]]
    assert len(split().batches(5, drop_last=True)) == len(split().batches(5)) == 2
    assert labels(split(3).batches(4, drop_last=True)) == []


def test_within_confines_the_batches() -> None:
    batches = split().batches(2, within=torch.tensor([8, 1, 5]))
    assert labels(batches) == [[8, 1], [5]]
    assert (len(batches), batches.count) == (2, 3)
    shuffled = split().batches(2, stream(0, "b"), within=torch.tensor([8, 1, 5]))
    assert sorted(sum(labels(shuffled), [])) == [1, 5, 8]
    assert labels(split().batches(2, within=torch.tensor([], dtype=torch.long))) == []


@pytest.mark.parametrize(
    ("count", "size", "sizes"), [(9, 4, [4, 5]), (10, 4, [4, 4, 2]), (8, 4, [4, 4]), (1, 4, [1]), (3, 1, [1, 1, 1])]
)
def test_a_single_item_left_over_joins_the_batch_before_where_they_are_shuffled(
    count: int, size: int, sizes: list[int]
) -> None:
    batches = split(count).batches(size, stream(0, "b"))
    assert ([len(batch.labels) for batch in batches], len(batches), batches.sizes) == (sizes, len(sizes), sizes)
    order = torch.randperm(count, generator=stream(0, "b")).tolist()
    assert sum(labels(split(count).batches(size, stream(0, "b"))), []) == order
    assert labels(split(9).batches(4)) == [[0, 1, 2, 3], [4, 5, 6, 7], [8]]
    assert [len(b.labels) for b in split(9).batches(4, stream(0, "b"), drop_last=True)] == [4, 4]


def test_batch_norm_trains_on_every_shuffled_batch() -> None:
    network = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3)).train()
    with pytest.raises(ValueError, match="more than 1 value per channel"):
        network(split(9).batches(4).split.fetch(torch.tensor([8])).inputs)
    for within in (None, torch.arange(5)):
        assert all(
            network(batch.inputs).isfinite().all() for batch in split(9).batches(4, stream(0, "b"), within=within)
        )


def test_shuffling_is_new_at_each_pass_and_determined_by_the_generator() -> None:
    batches = split(20).batches(6, stream(0, "b"))
    first, second = labels(batches), labels(batches)
    assert first != second
    assert sorted(sum(first, [])) == sorted(sum(second, [])) == list(range(20))
    again = split(20).batches(6, stream(0, "b"))
    assert [labels(again), labels(again)] == [first, second]


def test_a_pass_that_is_broken_off_does_not_change_the_next() -> None:
    whole, broken = split(20).batches(6, stream(0, "b")), split(20).batches(6, stream(0, "b"))
    labels(whole)
    next(iter(broken))
    assert labels(broken) == labels(whole)


def test_empty_batches_are_refused() -> None:
    with pytest.raises(ValueError, match="at least one item, not 0"):
        split().batches(0)


def test_tensors_is_everything_or_a_sentence() -> None:
    batch = split(groups=True).tensors()
    check(batch, list(range(10)), grouped=True)
    assert batch.indices.tolist() == list(range(10))
    with pytest.raises(UsageError, match=r"the train split \(10 items\) is read from files.*dataset.in_memory_gib"):
        split(lazy=True).tensors()


@pytest.mark.parametrize("lazy", [(False, False), (False, True), (True, False), (True, True)])
def test_joined_holds_the_items_of_all_parts_in_order(lazy: tuple[bool, bool]) -> None:
    parts = [split(4, 0, lazy[0], groups=True), split(3, 4, lazy[1], groups=True), split(2, 7, groups=True)]
    whole = joined("both", parts)
    assert (whole.name, len(whole), len(whole.inputs)) == ("both", 9, 9)
    check(whole.fetch(torch.tensor([8, 0, 5, 3, 4, 5])), [8, 0, 5, 3, 4, 5], grouped=True)
    check(whole.fetch(torch.tensor([6])), [6], grouped=True)
    assert sum(labels(whole.batches(4)), []) == list(range(9))
    assert isinstance(whole.inputs, Concatenated) == (not any(lazy))


def test_joined_in_memory_copies_nothing_until_all_of_it_is_asked_for() -> None:
    parts = [split(4, 0), split(5, 4)]
    whole = joined("both", parts)
    assert isinstance(whole.inputs, Concatenated)
    assert all(mine is part.inputs for mine, part in zip(whole.inputs.tensors, parts, strict=True))
    check(whole.tensors(), list(range(9)))
    check(whole.to(torch.device("cpu")).tensors(), list(range(9)))
    chosen = whole.subset(torch.tensor([7, 2]))
    assert isinstance(chosen.inputs, Tensor)
    check(chosen.tensors(), [7, 2])


def test_joined_after_subset_reads_the_right_files() -> None:
    whole = joined("both", [split(5, 0), split(5, 5, lazy=True).subset(torch.tensor([4, 1]))])
    assert whole.labels.tolist() == [0, 1, 2, 3, 4, 9, 6]
    check(whole.subset(torch.tensor([6, 0, 5])).fetch(torch.arange(3)), [6, 0, 9])
    with pytest.raises(UsageError, match="both split"):
        whole.tensors()


def test_groups_are_lost_where_a_part_has_none() -> None:
    assert joined("both", [split(2, groups=True), split(2)]).groups is None
