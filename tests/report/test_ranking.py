"""When a figure leads its column, and when accuracy rises."""

from collections.abc import Sequence

import pytest

from study.report.figures import Change, Figure
from study.report.properties import Property
from study.report.ranking import NO_BETTER, NOT_CLEARLY_BETTER, WORSE, best, verdict

ACCURACY = Property("accuracy", "accuracy", "rate", higher_is_better=True)
TIME = Property("time", "time", "seconds", higher_is_better=False)


def _figure(*values: float, first: int = 0, way: str = "") -> Figure:
    seeds = {str(first + place): value for place, value in enumerate(values)}
    mean = sum(values) / len(values)
    return Figure(mean, None, len(values), by_seed=seeds, ways=frozenset({way} - {""}))


def _best(item: Property, *figures: Figure) -> int | None:
    return best(dict(enumerate(figures)), item)


def test_a_clear_lead_is_best_in_its_direction() -> None:
    low, high = _figure(0.80, 0.81, 0.82), _figure(0.90, 0.91, 0.92)  # two standard deviations together: 0.02
    assert _best(ACCURACY, low, high) == 1
    assert _best(TIME, low, high) == 0
    assert _best(Property("x", "x"), low, high) is None


def test_a_lead_within_the_two_deviations_is_none() -> None:
    assert _best(ACCURACY, _figure(0.80, 0.81, 0.82), _figure(0.82, 0.83, 0.84)) is None
    assert _best(ACCURACY, _figure(0.80, 0.81, 0.82), _figure(0.83, 0.84, 0.85)) == 1


def test_the_lead_has_to_hold_against_every_rival() -> None:
    figures = _figure(0.1, 0.1, 0.1), _figure(0.90, 0.91, 0.92), _figure(0.89, 0.91, 0.93)
    assert _best(ACCURACY, *figures) is None


@pytest.mark.parametrize("count", [1, 2])
def test_fewer_than_three_seeds_never_lead(count: int) -> None:
    assert _best(ACCURACY, _figure(*[0.1] * count), _figure(*[0.9] * count)) is None


def test_a_row_with_one_seed_does_not_compete_but_forbids_what_it_beats() -> None:
    able = _figure(0.80, 0.81, 0.82), _figure(0.90, 0.91, 0.92)
    assert _best(ACCURACY, *able, _figure(0.85)) == 1
    assert _best(ACCURACY, *able, _figure(0.95)) is None
    assert _best(ACCURACY, able[1], _figure(0.85)) is None  # nothing else has a spread


def test_rows_are_compared_over_the_seeds_that_both_have() -> None:
    many = _figure(0.80, 0.81, 0.82, 0.99, 0.99, 0.99, 0.99)
    assert _best(ACCURACY, many, _figure(0.90, 0.91, 0.92)) is None  # the mean of all its seeds is higher
    assert _best(ACCURACY, _figure(0.80, 0.81, 0.82, 0.1), _figure(0.90, 0.91, 0.92)) == 1
    assert _best(ACCURACY, _figure(0.80, 0.81, 0.82), _figure(0.90, 0.91, 0.92, first=2)) is None


def test_figures_measured_in_different_ways_are_not_compared() -> None:
    assert _best(ACCURACY, _figure(0.1, 0.1, 0.1, way="a"), _figure(0.9, 0.9, 0.9, way="b")) is None
    assert _best(ACCURACY, _figure(0.1, 0.1, 0.1, way="a"), _figure(0.9, 0.9, 0.9, way="a")) == 1


def test_a_tie_has_no_best() -> None:
    assert _best(ACCURACY, _figure(0.1, 0.1, 0.1), _figure(0.1, 0.1, 0.1)) is None


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ([0.01], ""),
        ([0.0], NO_BETTER),
        ([-0.01], NO_BETTER),  # one seed does not make it worse
        ([0.01, 0.03], ""),
        ([-0.01, 0.03], NOT_CLEARLY_BETTER),
        ([0.02, 0.03, 0.04], ""),
        ([0.0, 0.0, 0.0], NO_BETTER),
        ([-0.01, 0.0, -0.01], WORSE),
        ([-0.02, 0.015, 0.0], NO_BETTER),
    ],
)
def test_what_is_said_of_a_change_in_accuracy(changes: Sequence[float], words: str) -> None:
    mean = sum(changes) / len(changes)
    spread = None
    if len(changes) > 1:
        spread = (sum((change - mean) ** 2 for change in changes) / (len(changes) - 1)) ** 0.5
    assert verdict(Figure(0.9, None, len(changes), change=Change(mean, spread))) == words


def test_nothing_is_said_where_nothing_was_measured() -> None:
    assert verdict(None) == verdict(Figure(0.9, None, 1)) == ""
