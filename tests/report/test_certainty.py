"""How sure figures are: intervals over test inputs, and changes that cannot be told from none."""

from __future__ import annotations

import csv
import io
import re

import pandas as pd
import pytest
from rich.console import Console
from scipy.stats import binomtest

from study.report import table, terminal
from study.report.comparison import Comparison, compare
from study.report.page import html
from study.report.properties import Property
from study.report.ranking import p_value
from study.report.selection import newest
from study.report.tradeoff import plot

REPAIRS = Property("repaired_inputs", "repaired inputs", "count", summary=False, role="repairs")
FLIPS = Property("broken_inputs", "broken inputs", "count", summary=False, role="flips")
CHANCE = Property("mcnemar_p", "McNemar p", summary=False, role="p_value")
FITTED = Property("cost/repair_set_fixed", "repair rate, repair set", "rate", summary=False, role="fitted")
COUNTS = {"finetune": [(20, 8), (25, 5)], "apricot": [(60, 20)], "full/joint": [(9, 4)], "reassure": [(0, 0)]}
"""Repairs and negative flips of each seed."""


def runs_of(seeds: list[str], repairs: list[float], flips: list[float]) -> pd.DataFrame:
    return pd.DataFrame({"subject_seed": seeds, REPAIRS.metric: repairs, FLIPS.metric: flips})


def exact(repairs: int, flips: int) -> float:
    return float(binomtest(repairs, repairs + flips).pvalue)


@pytest.mark.parametrize(("repairs", "flips"), [(12, 3), (3, 12), (7, 7), (1, 0), (300, 250)])
def test_the_p_value_is_that_of_the_sign_test(repairs: int, flips: int) -> None:
    assert p_value(runs_of(["0"], [repairs], [flips]), [REPAIRS, FLIPS]) == pytest.approx(exact(repairs, flips))


def test_numbers_of_one_faulty_model_are_averaged_and_those_of_several_added() -> None:
    alike = runs_of(["0", "0"], [12, 14], [3, 5])
    assert p_value(alike, [REPAIRS, FLIPS]) == pytest.approx(exact(13, 4))
    apart = runs_of(["0", "1"], [12, 14], [3, 5])
    assert p_value(apart, [REPAIRS, FLIPS]) == pytest.approx(exact(26, 8))


def test_without_changes_nothing_is_told_from_none_and_without_counts_nothing_is_said() -> None:
    assert p_value(runs_of(["0"], [0], [0]), [REPAIRS, FLIPS]) == 1.0
    assert p_value(runs_of(["0"], [1], [float("nan")]), [REPAIRS, FLIPS]) is None
    assert p_value(runs_of(["0"], [1], [1]), [REPAIRS]) is None


@pytest.fixture(scope="module")
def comparison(frame: pd.DataFrame) -> Comparison:
    """That of mnist, whose runs counted repairs and flips and gave intervals of the accuracy."""
    runs, _ = newest(frame[frame["dataset"] == "mnist"])
    counts = [
        COUNTS.get(method, [])[int(seed) :][:1] for method, seed in zip(runs["method"], runs["seed"], strict=True)
    ]
    repairs, flips = ([own[0][place] if own else None for own in counts] for place in (0, 1))
    known = [
        {**stated, **{item.key: item for item in (REPAIRS, FLIPS, CHANCE, FITTED)}} for stated in runs["properties"]
    ]
    accuracy = runs["after/accuracy"]
    ends = {"low/accuracy": accuracy - 0.02, "high/accuracy": accuracy + 0.01}
    ends |= {"low/repair_rate": runs["after/repair_rate"] / 2, "high/repair_rate": runs["after/repair_rate"] * 1.2}
    fitted = [0.875 if method == "apricot" else None for method in runs["method"]]
    values = {REPAIRS.metric: repairs, FLIPS.metric: flips, FITTED.metric: fitted, CHANCE.metric: [0.5] * len(runs)}
    return compare(runs.assign(properties=known, **values, **ends))


def test_a_gain_that_cannot_be_told_from_none_is_marked(comparison: Comparison) -> None:
    rows = {row.method: row for row in comparison.subjects[0].rows}
    assert rows["finetune"].p_value == pytest.approx(exact(45, 13))
    assert {method for method, row in rows.items() if row.doubtful} == {"full/joint", "reassure"}
    figure = rows["finetune"].figures["mcnemar_p"]  # not the mean of the runs' own
    assert (figure.mean, figure.spread) == (rows["finetune"].p_value, None)
    assert rows["arachne"].p_value is None and rows["arachne"].figures["mcnemar_p"].mean == 0.5


def test_the_mark_stands_beside_the_accuracy_and_in_the_legend(comparison: Comparison) -> None:
    text = io.StringIO()
    terminal.show(comparison, Console(file=text, width=180))
    lines = text.getvalue().splitlines()
    assert [line.split()[1] for line in lines if "≈" in line and "│" in line] == ["full/joint", "reassure"]
    assert any(line.startswith("≈ the change in accuracy is not distinguishable from none") for line in lines)
    page = html(comparison)
    assert page.count("≈</b>") == 3 and "96.00<b" in page
    assert f"McNemar test of the change: p = {exact(9, 4):.2g}" in page


def test_no_mark_no_legend(frame: pd.DataFrame) -> None:
    text = io.StringIO()
    comparison = compare(*newest(frame))
    terminal.show(comparison, Console(file=text, width=180))
    assert "≈" not in text.getvalue() + html(comparison) and "fitted" not in text.getvalue()
    assert "95 %" not in html(comparison)


def test_what_was_fitted_stands_below_what_generalises(comparison: Comparison) -> None:
    text = io.StringIO()
    terminal.show(comparison, Console(file=text, width=180))
    lines = text.getvalue().splitlines()
    (place,) = [number for number, line in enumerate(lines) if line.startswith("│ apricot")]
    column = lines[place].index("55.00")
    assert any("fitted 87.50" in line[column - 9 : column + 9] for line in lines[place + 1 : place + 3])
    assert text.getvalue().count("fitted 87.50") == 1 and "fitted: the repair rate on the failing" in text.getvalue()
    assert "fitted 87.50" in html(comparison)


def test_the_page_gives_intervals(comparison: Comparison) -> None:
    page = html(comparison)
    # Over two seeds the mean of each end.
    assert "95 %: 92.00 to 95.00" in page  # finetune
    assert "95 %: 94.00 to 97.00" in page  # full/joint
    assert "were other test inputs drawn" in page


def test_the_plot_shows_the_interval_of_a_single_seed(comparison: Comparison) -> None:
    drawn = plot(comparison.subjects[0], comparison.properties)
    assert drawn is not None
    spreads = {mark.row.method: mark.spread for mark in drawn.marks}
    left, right, top, bottom = spreads["apricot"]
    (mark,) = [mark for mark in drawn.marks if mark.row.method == "apricot"]
    assert left == right == mark.x  # of the negative flips there is none
    assert (bottom - mark.y) / (mark.y - top) == pytest.approx(0.5 / 0.2)
    left, right, *_ = spreads["finetune"]
    assert left < right


def test_the_csv_has_the_ends_and_the_p_value(comparison: Comparison) -> None:
    lines = {line["method"]: line for line in csv.DictReader(io.StringIO(table.csv(comparison)))}
    assert float(lines["finetune"]["accuracy_low"]) == pytest.approx(0.92)
    assert float(lines["finetune"]["accuracy_high"]) == pytest.approx(0.95)
    assert float(lines["full/joint"]["p_value"]) == pytest.approx(exact(9, 4))
    told = [lines[method]["distinguishable"] for method in ("finetune", "full/joint", "arachne")]
    assert told == ["True", "False", ""]


def test_columns_that_are_no_summary_are_shown_on_request(comparison: Comparison) -> None:
    page = html(comparison)
    assert 'id="further"' in page
    heads = re.findall(r'<th scope="col"[^>]*class="further"><button[^>]*>([^<]*)<', page)
    assert [head.split(" %")[0] for head in heads] == [
        "repaired inputs",
        "broken inputs",
        "McNemar p",
        "repair rate, repair set",
    ]
    rows = page.count("<tr data-name")
    assert len(re.findall(r'<td class="(?:sized )?further"', page)) == 4 * rows
