"""The frontiers of the benchmark's subjects."""

from __future__ import annotations

from pathlib import Path

import pandas
import pytest

from benchmarks.frontiers import line, lines, markdown
from study.frontier.curves import Point
from study.frontier.repairs import Row
from tests.benchmarks.test_subjects import SMALL, one
from tests.commands import result_of


def row(*points: tuple[float, float]) -> Row:
    """One seed whose soft votes repair and break so much; the last point is the repair alone."""
    curve = [Point(index / (len(points) - 1), *point) for index, point in enumerate(points)]
    return Row(subject="it", approach="it", control=False, curves={"soft_voting": {"0": curve}})


def test_a_line_holds_the_most_within_the_limit_and_the_best_other_at_the_same_flips() -> None:
    bold, mild = row((0.0, 0.0), (0.2, 0.003), (0.6, 0.02)), row((0.0, 0.0), (0.1, 0.001), (0.3, 0.004))
    told = line(bold, {"mild": mild})
    assert (told["repair rate"], told["NFR"]) == pytest.approx((60.0, 2.0))
    assert (told["repair rate within"], told["NFR within"]) == pytest.approx((20.0, 0.3))
    assert (told["best other"], told["repair rate of best other"]) == ("mild", pytest.approx(30.0))
    assert line(mild, {"bold": bold})["repair rate of best other"] == pytest.approx(20.0)
    assert "best other" not in line(mild, {})


def test_it_takes_the_finished_repairs_of_a_subject(store: Path) -> None:
    result = result_of(*one(SMALL, "finetune", 0))
    (told,) = lines(SMALL)
    assert (told["method"], told["seeds"]) == ("finetune", 1)
    assert told["repair rate"] == pytest.approx(100 * result.metrics["after/repair_rate"])
    assert told["NFR"] == pytest.approx(100 * result.metrics["after/negative_flip_rate"])
    shown = markdown(pandas.DataFrame([told])).splitlines()[-1]
    assert shown.startswith("| digits_s | finetune | 1 | ") and shown.endswith(" |  |")
