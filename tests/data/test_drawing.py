"""The rule by which missing splits are drawn."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from study.data.drawing import completed, drawn_from_train
from study.errors import UsageError
from study.runtime.randomness import stream


def drawn(seed: int = 0, **sizes: int) -> dict[str, Tensor]:
    return completed(sizes, stream(seed, "split"), "data")


@pytest.mark.parametrize(
    ("sizes", "expected"),
    [
        ({"train": 100}, [70, 10, 10, 10]),
        ({"train": 101}, [68, 11, 11, 11]),
        ({"train": 100, "test": 21}, [90, 10, 10, 11]),
        ({"train": 100, "repair": 20}, [90, 10, 10, 10]),
        ({"train": 100, "validation": 7}, [80, 7, 10, 10]),
        ({"train": 100, "validation": 7, "test": 4}, [100, 7, 2, 2]),
        ({"train": 100, "repair": 5, "test": 4}, [90, 10, 5, 4]),
        ({"train": 4, "validation": 3, "repair": 2, "test": 1}, [4, 3, 2, 1]),
    ],
)
def test_missing_splits_are_drawn_and_no_item_is_lost(sizes: dict[str, int], expected: list[int]) -> None:
    splits = drawn(**sizes)
    assert list(splits) == ["train", "validation", "repair", "test"]
    assert [len(places) for places in splits.values()] == expected
    assert torch.cat(list(splits.values())).sort().values.tolist() == list(range(sum(sizes.values())))


def test_given_splits_keep_their_items_and_the_seed_decides_the_rest() -> None:
    splits = drawn(train=50, validation=5, test=10)
    assert splits["validation"].tolist() == list(range(50, 55))
    assert set(splits["repair"].tolist()) | set(splits["test"].tolist()) == set(range(55, 65))
    assert splits["train"].tolist() == list(range(50))
    assert not torch.equal(drawn(1, train=50)["test"], drawn(2, train=50)["test"])
    assert torch.equal(drawn(1, train=50)["test"], drawn(1, train=50)["test"])


def test_what_cannot_be_drawn_is_refused() -> None:
    with pytest.raises(UsageError, match="data: no item is left for the repair split"):
        drawn(train=40, test=1)
    with pytest.raises(UsageError, match="data: there are no train items, only test"):
        drawn(test=40)


def test_it_is_known_whether_test_inputs_may_have_been_trained_on() -> None:
    assert drawn_from_train(["train", "validation"])
    assert not drawn_from_train(["train", "test"]) and not drawn_from_train(["train", "repair"])
