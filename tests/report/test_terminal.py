import io
from dataclasses import replace

import pandas as pd
import pytest
from rich.console import Console

from study.report.comparison import compare
from study.report.properties import Property
from study.report.selection import newest
from study.report.terminal import show
from tests.report.store import repeated


@pytest.fixture(scope="module")
def lines(frame: pd.DataFrame) -> list[str]:
    text = io.StringIO()
    show(compare(*newest(frame[frame["dataset"] == "mnist"])), Console(file=text, width=180))
    return text.getvalue().splitlines()


def _line(lines: list[str], start: str) -> str:
    return next(line for line in lines if line.startswith(f"│ {start}"))


def test_percent_spread_and_best(lines: list[str]) -> None:
    assert "94.00 ± 1.41" in _line(lines, "finetune")
    assert "96.00 │" in _line(lines, "full/joint")
    assert "20.00‡" in _line(lines, "apricot")
    assert any(line.startswith("│ control, n=2") for line in lines)


def test_a_star_with_three_seeds_and_what_it_means(frame: pd.DataFrame) -> None:
    text = io.StringIO()
    runs = repeated(frame[frame["dataset"] == "mnist"])
    show(compare(*newest(runs)), Console(file=text, width=180))
    assert "96.00* ± 0.00" in _line(text.getvalue().splitlines(), "full/joint")
    assert "* best of its column: ahead of every other approach by more than the two standard" in text.getvalue()


def test_no_star_says_why(lines: list[str]) -> None:
    assert not any("*" in line for line in lines)
    assert any(line.startswith("Nothing is starred: ") for line in lines)


def test_a_row_whose_accuracy_does_not_rise_says_so(lines: list[str]) -> None:
    places = [place for place, line in enumerate(lines) if "no better than the faulty model" in line]
    assert [lines[place - 2].split()[1] for place in places] == ["reassure"]


def test_a_narrow_terminal_gets_several_tables_that_fit(frame: pd.DataFrame) -> None:
    text = io.StringIO()
    show(compare(*newest(frame[frame["dataset"] == "mnist"])), Console(file=text, width=80))
    lines = text.getvalue().splitlines()
    assert max(map(len, lines)) <= 80
    starts = [line for line in lines if line.startswith("│ finetune ")]
    assert len(starts) == 2 and "94.00 ± 1.41" in starts[0] and "1 min 40 s ± 14 s" in starts[1]


def test_outcome_words_and_their_reasons(lines: list[str]) -> None:
    assert _line(lines, "vere").count("unadaptable") == 5
    assert "  vere: unadaptable 1 of 1: needs BatchNorm: LeNet5 has none" in lines
    assert "  care: crashed 1 of 1: <b>ValueError</b>" in lines


def test_an_outcome_that_was_published_in_place_of_numbers_stands_beside_ours(frame: pd.DataFrame) -> None:
    runs = frame[frame["dataset"] == "mnist"].copy()
    runs = runs.replace({"method": {"arachne": "distrrep"}, "approach": {"arachne": "distrrep"}})  # unadaptable there
    text = io.StringIO()
    show(compare(*newest(runs)), Console(file=text, width=180))
    lines = text.getvalue().splitlines()
    for name in ("distrrep", "vere"):
        (place,) = [number for number, line in enumerate(lines) if line.startswith((f"│ {name} ", f"│ {name}│"))]
        assert any("publ. unadaptable" in line for line in lines[place : place + 5]), name
    assert sum("publ. unadaptable" in line for line in lines) == 2


def test_masking_names_what_it_flatters_and_what_applies_nowhere_says_why(lines: list[str]) -> None:
    assert any(line.startswith("‡ gradient masking") and "flatters ASR;" in line for line in lines)
    assert "AAOD is not applicable: the data set has no sensitive groups." in lines


def test_a_property_that_does_not_apply_to_one_subject_alone(frame: pd.DataFrame) -> None:
    grouped = frame["dataset"] == "digits"
    runs = frame.assign(**{"after/aaod": [0.1 if has_groups else None for has_groups in grouped]})
    text = io.StringIO()
    show(compare(*newest(runs)), Console(file=text, width=180))
    digits, mnist = text.getvalue().split("mnist / lenet5")
    assert "n/a" in next(line for line in mnist.splitlines() if line.startswith("│ apricot"))
    assert "unadaptable" in next(line for line in mnist.splitlines() if line.startswith("│ vere"))
    assert "10.00" in digits and "AAOD is not applicable" not in mnist


def test_columns_that_are_no_summary_are_left_to_the_page(frame: pd.DataFrame) -> None:
    text = io.StringIO()
    comparison = compare(*newest(frame))
    show(
        replace(comparison, properties=(*comparison.properties, Property("own", "own", summary=False))),
        Console(file=text, width=180),
    )
    assert "own" not in text.getvalue() and "churn" in text.getvalue()


def test_published_gains_and_left_out(lines: list[str]) -> None:
    text = "\n".join(lines)
    assert "publ. 12.70" in text
    assert (
        "gain +0.56 %" in text and "publ. \N{MINUS SIGN}0.15 %" in text
    )  # arachne, of whose gain something was published
    place = lines.index(_line(lines, "finetune"))
    assert "+4.00" in lines[place + 1] and "gain" not in lines[place + 2]  # nothing was published of it
    assert "1 older run of the same jobs was left out" in text
