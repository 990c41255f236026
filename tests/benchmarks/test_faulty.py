"""The faulty models of the benchmark's subjects, before any repair."""

from __future__ import annotations

from pathlib import Path

import pandas
import pytest

from benchmarks.faulty import Counts, counts, line, markdown, starts
from tests.benchmarks.test_subjects import SMALL, one
from tests.commands import result_of


def test_each_faulty_model_is_measured_once_on_both_splits(store: Path) -> None:
    results = [result_of(*one(SMALL, "finetune", seed), name=f"job{seed}") for seed in (0, 1)]
    (folder,) = starts(SMALL)
    told = counts(folder)
    assert told.right_in_test / told.test == pytest.approx(results[0].metrics["before/accuracy"])
    assert (told.test, told.repair) == tuple(results[0].origin.items[name] for name in ("test", "repair"))  # type: ignore[union-attr]
    assert 0 < told.right_in_repair < told.repair


def test_a_line_holds_the_means_over_models() -> None:
    told = line("breastmnist", [Counts(10, 9, 30, 15), Counts(10, 7, 30, 27)])
    assert (told["test"], told["repair"], told["both"]) == pytest.approx((80.0, 70.0, 72.5))
    (*_, last) = markdown(pandas.DataFrame([told])).splitlines()
    assert last == "| breastmnist | 2 | 80.0 | 70.0 | 72.5 | 88.5 (small CNN) | 9 of 30, at least 3 |"


def test_a_subject_that_nothing_compares_with_and_of_one_model_says_less() -> None:
    (*_, last) = markdown(pandas.DataFrame([line("digits_s", [Counts(4, 3, 4, 2)])])).splitlines()
    assert last == "| digits_s | 1 | 75.0 | 50.0 | 62.5 |  | 2 of 4 |"
