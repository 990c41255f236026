import io

import pandas as pd
import pytest
from rich.console import Console

from study.report.comparison import compare
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


def test_published_gains_and_left_out(lines: list[str]) -> None:
    text = "\n".join(lines)
    assert "publ. 12.70" in text
    assert "+6.67 %" in text
    assert "1 older run of the same jobs was left out" in text
