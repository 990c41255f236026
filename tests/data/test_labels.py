"""Labels as their owner writes them, as numbers."""

from __future__ import annotations

import numpy as np
import pytest

from study.data.labels import numbered
from study.errors import UsageError


@pytest.mark.parametrize(
    ("column", "names", "numbers", "known"),
    [
        (["no", "yes"] * 4, None, [0, 1] * 4, ["no", "yes"]),
        (["no", "yes"] * 4, ["yes", "no"], [1, 0] * 4, ["yes", "no"]),
        ([10, 9] * 4, None, [1, 0] * 4, ["9", "10"]),
        ([2.0, 1.0] * 4, None, [1, 0] * 4, ["1", "2"]),
        ([True, False] * 4, None, [1, 0] * 4, ["False", "True"]),
        ([0, 2] * 4, ["cat", "dog", "fox"], [0, 2] * 4, ["cat", "dog", "fox"]),
        ([1, 2] * 4, ["2", "1"], [1, 0] * 4, ["2", "1"]),
    ],
)
def test_values_are_numbered(
    column: list[object], names: list[str] | None, numbers: list[int], known: list[str]
) -> None:
    found, classes = numbered({"train": np.array(column[:5]), "test": np.array(column[5:])}, names, "labels")
    assert found["train"].tolist() + found["test"].tolist() == numbers
    assert classes == known


@pytest.mark.parametrize(
    ("column", "names", "sentence"),
    [
        ([0.5, 1.0] * 4, None, "labels: holds fractions such as 0.5"),
        (list(range(8)), None, "labels: holds 8 different values in 8 items"),
        (["a", "b"] * 4, ["a", "c"], "labels: b is none of a, c"),
        ([0, 2] * 4, ["a", "b"], "labels: go up to 2, and 2 names number 0 to 1"),
        ([[0], [1]] * 4, None, "labels: holds an array of shape 8x1"),
    ],
)
def test_what_is_no_class_is_refused(column: list[object], names: list[str] | None, sentence: str) -> None:
    with pytest.raises(UsageError, match=sentence):
        numbered({"train": np.array(column)}, names, "labels")
