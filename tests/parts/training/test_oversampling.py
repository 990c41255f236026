"""Batches in which some items come more often."""

from typing import Any

import torch
from scipy.stats import chisquare

from study.data.split import Split
from study.parts.training.fairness import balancing_weights
from study.parts.training.oversampling import Oversampled
from study.runtime.randomness import stream

EXTRA = torch.tensor([3, 70, 71])


def split() -> Split:
    """100 items; class 1 is rare, and so is group 1 in it."""
    labels, groups = (torch.arange(100) >= 80).long(), (torch.arange(100) % 10 == 0).long()
    return Split("train", torch.arange(100.0).unsqueeze(1), labels, groups)


def oversampled(**changes: Any) -> Oversampled:
    arguments: dict[str, Any] = {
        "weights": None,
        "extra": 4,
        "extra_indices": EXTRA,
        "extra_generator": stream(0, "extra"),
    }
    return Oversampled(split(), 32, stream(0, "batches"), **(arguments | changes))


def test_appends_only_items_of_the_given_ones() -> None:
    batches = list(oversampled())
    assert [len(batch.labels) for batch in batches] == [36, 36, 36, 8]
    appended = torch.cat([batch.indices[-4:] for batch in batches])
    assert set(appended.tolist()) == set(EXTRA.tolist())
    assert torch.cat([batch.indices[:-4] for batch in batches]).sort().values.equal(torch.arange(100))


def test_without_anything_to_append_the_batches_are_those_of_the_split() -> None:
    plain = split().batches(32, stream(0, "batches"))
    for changes in ({"extra_indices": EXTRA[:0]}, {"extra": 0}):
        loader = oversampled(**changes)
        for _ in range(2):
            for ours, theirs in zip(loader, plain, strict=True):
                assert ours.indices.equal(theirs.indices)
                assert ours.inputs.equal(theirs.inputs)
        plain = split().batches(32, stream(0, "batches"))


def test_a_single_item_left_over_joins_the_batch_before_unless_it_has_company() -> None:
    def sizes(extra: int) -> list[int]:
        extras = stream(0, "extra")
        arguments: dict[str, Any] = {"weights": None, "extra": extra, "extra_indices": EXTRA, "extra_generator": extras}
        loader = Oversampled(split(), 33, stream(0, "batches"), **arguments)
        lengths = [len(batch.labels) for batch in loader]
        assert len(loader) == len(lengths)
        return lengths

    assert sizes(extra=0) == [33, 33, 34]
    assert sizes(extra=1) == [34, 34, 34, 2]


def test_balanced_draws_fill_the_groups_of_a_class_equally_and_keep_the_classes() -> None:
    data = split()
    assert data.groups is not None
    loader = oversampled(weights=balancing_weights(data.labels, data.groups, 1.0), extra=0)
    drawn = torch.cat([batch.indices for _ in range(40) for batch in loader])
    counts = torch.bincount(data.labels[drawn] * 2 + data.groups[drawn])
    assert len(drawn) == 4000
    expected = torch.bincount(data.labels).double().repeat_interleave(2) * 4000 / (2 * len(data))
    assert chisquare(counts.numpy(), expected.numpy()).pvalue > 0.01
