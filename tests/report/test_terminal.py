import io
from dataclasses import replace

import pandas as pd
import pytest
from rich.console import Console

from study.report.comparison import compare
from study.report.properties import Property
from study.report.selection import newest
from study.report.terminal import show


@pytest.fixture(scope="module")
def lines(frame: pd.DataFrame) -> list[str]:
    text = io.StringIO()
    show(compare(*newest(frame[frame["dataset"] == "mnist"])), Console(file=text, width=180))
    return text.getvalue().splitlines()


def _line(lines: list[str], start: str) -> str:
    return next(line for line in lines if line.startswith(f"│ {start}"))


def test_percent_spread_and_best(lines: list[str]) -> None:
    assert "94.00 ± 1.41" in _line(lines, "finetune")
    assert "96.00*" in _line(lines, "full/joint")
    assert "20.00‡" in _line(lines, "apricot")
    assert any(line.startswith("│ control, n=2") for line in lines)


def test_outcome_words_and_their_reasons(lines: list[str]) -> None:
    assert _line(lines, "vere").count("unadaptable") == 5
    assert "  vere: unadaptable 1 of 1: needs BatchNorm: LeNet5 has none" in lines
    assert "  care: crashed 1 of 1: <b>ValueError</b>" in lines


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
    assert "+6.67 %" in text
    assert "1 older run of the same jobs was left out" in text
