from dataclasses import replace

import pandas as pd
import pytest

from study.report.comparison import Row, Subject, compare
from study.report.figures import Figure
from study.report.properties import Property
from study.report.selection import newest
from study.report.tradeoff import FRAME, plot

ACCURACY = Property("accuracy", "accuracy", "rate", role="accuracy")
REPAIRED = Property("repair_rate", "repair rate", "rate", role="repaired")
BROKEN = Property("negative_flip_rate", "negative flips", "rate", role="broken")
PROPERTIES = (ACCURACY, REPAIRED, BROKEN)


@pytest.fixture(scope="module")
def mnist(frame: pd.DataFrame) -> Subject:
    return compare(*newest(frame)).subjects[1]


def _approach(flips: float, repairs: float) -> Row:
    figures = {"negative_flip_rate": Figure(flips, None, 1), "repair_rate": Figure(repairs, None, 1)}
    return Row("care", "care", "none", "neuron", 1, (), 0, 0, figures)


def test_one_mark_per_approach_that_has_both_rates(mnist: Subject) -> None:
    drawn = plot(mnist, PROPERTIES)
    assert drawn is not None
    assert [mark.row.method for mark in drawn.marks] == ["apricot", "finetune", "full/joint", "reassure", "arachne"]


def test_places_follow_the_axes(mnist: Subject) -> None:
    drawn = plot(replace(mnist, rows=(_approach(0.0, 0.0), _approach(0.01, 0.5))), PROPERTIES)
    assert drawn is not None
    origin, mark = drawn.marks
    assert (origin.x, origin.y) == (FRAME.left, FRAME.bottom)
    across = {tick.text: tick.at for tick in drawn.x_ticks}
    upwards = {tick.text: tick.at for tick in drawn.y_ticks}
    assert (mark.x, mark.y) == (pytest.approx(across["1"]), pytest.approx((upwards["40"] + upwards["60"]) / 2))


def test_the_axis_of_a_rate_ends_at_100_percent(mnist: Subject) -> None:
    drawn = plot(replace(mnist, rows=(_approach(0.001, 1.0),)), PROPERTIES)
    assert drawn is not None and drawn.y_ticks[-1].text == "100"


def test_published_twins_and_spreads_stay_inside(mnist: Subject) -> None:
    drawn = plot(mnist, PROPERTIES)
    assert drawn is not None
    twins = {mark.row.method: mark.twin for mark in drawn.marks}
    assert twins["finetune"] is None and twins["arachne"] is not None
    spreads = {mark.row.method: mark.spread for mark in drawn.marks}
    assert spreads["apricot"] is None and spreads["finetune"] is not None
    left, right, top, bottom = spreads["finetune"]
    assert FRAME.left <= left < right <= FRAME.right and FRAME.top <= top < bottom <= FRAME.bottom


@pytest.mark.parametrize(("flips", "repairs", "loses"), [(0.04, 0.5, False), (0.06, 0.5, True), (0.001, 0.9, False)])
def test_the_losing_region_is_where_accuracy_falls(mnist: Subject, flips: float, repairs: float, loses: bool) -> None:
    # The faulty model errs on a tenth: a repair rate of 0.5 wins 0.05 of the test inputs back.
    drawn = plot(replace(mnist, rows=(_approach(flips, repairs), _approach(0.2, 0.9))), PROPERTIES)
    assert drawn is not None
    assert _inside(drawn.losing, (drawn.marks[0].x, drawn.marks[0].y)) is loses


def _inside(corners: tuple[tuple[float, float], ...], point: tuple[float, float]) -> bool:
    """Ray casting."""
    x, y = point
    crossings = 0
    for (x0, y0), (x1, y1) in zip(corners, (*corners[1:], corners[0]), strict=True):
        if (y0 > y) != (y1 > y) and x < x0 + (y - y0) / (y1 - y0) * (x1 - x0):
            crossings += 1
    return crossings % 2 == 1


def test_no_plot_without_rates(mnist: Subject) -> None:
    assert plot(replace(mnist, rows=tuple(row for row in mnist.rows if not row.figures)), PROPERTIES) is None


def test_the_axes_are_what_has_the_role_whatever_its_name(mnist: Subject) -> None:
    figures = {"mended": Figure(0.5, None, 1), "harmed": Figure(0.1, None, 1)}
    subject = replace(mnist, rows=(Row("care", "care", "none", "neuron", 1, (), 0, 0, figures),))
    mended, harmed = Property("mended", "mended", "rate", role="repaired"), Property("harmed", "harm", role="broken")
    drawn = plot(subject, (harmed, mended))
    assert drawn is not None and (drawn.repaired, drawn.broken) == (mended, harmed)
    assert drawn.losing == ()  # nothing says what accuracy is
    assert drawn.marks[0].title.startswith("care: mended 50.00 %")
    assert plot(subject, (harmed,)) is None and plot(subject, ()) is None
