"""The three regimes side by side: published, as published, ours."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas
import pytest

from benchmarks import run
from benchmarks.published import AS_PUBLISHED, NAMES, WITHOUT, label, regimes
from benchmarks.rows import ROWS
from benchmarks.table import with_table
from study.config.options import options
from study.report.published import published
from tests.commands import compositions

REGIMES = {name.removeprefix("published/") for name in options("method") if name.startswith("published/")}


def line(approach: str, rate: float | None, **further: Any) -> dict[str, Any]:
    """A line of the benchmark in which nothing but the repair rate, in percent, is measured."""
    return {
        "approach": approach,
        "repair rate": rate,
        "NFR": None,
        "accuracy after": None,
        "ASR after": None,
        "margin ASR after": None,
        "seconds": 2.4,
        "CPU seconds": 2.4,
        "published repair rate": None,
        "published seconds": None,
        "published outcome": None,
        "counts": "",
    } | further


def cells(told: list[str]) -> dict[str, dict[str, str]]:
    """The cells of a Markdown table by line and column."""
    heads, _, *lines = ([cell.strip() for cell in text.strip("|").split("|")] for text in told)
    return {values[0]: dict(zip(heads, values, strict=True)) for values in lines}


def test_every_regime_of_an_approach_of_the_study_has_its_row() -> None:
    assert set(NAMES) == {name for name in REGIMES if published(name, "mnist")}
    assert set(WITHOUT) <= set(NAMES)
    assert {row.method for row in AS_PUBLISHED} == {f"published/{name}" for name in NAMES}
    ours = {row.label for row in ROWS}
    assert set(NAMES) <= ours and not ours & {row.label for row in AS_PUBLISHED}


@pytest.mark.parametrize("row", AS_PUBLISHED, ids=lambda row: row.label)
def test_a_row_without_an_idea_is_the_regime_with_other_values(row: Any) -> None:
    (job,) = compositions(f"+method={row.method}", *row.overrides)
    (regime,) = compositions(f"+method={row.method}")
    assert (job.config.method != regime.config.method) == bool(row.overrides) == (not row.published)


def test_three_columns_have_three_sources() -> None:
    frame = pandas.DataFrame([line("arachne", 13.61), line(label("arachne"), 4.24), line("vere", 13.3)])
    told = cells(regimes(frame))
    assert set(told) == {row.published for row in ROWS if row.published}
    rates = ["repair rate, published", "repair rate, as published", "repair rate, ours"]
    assert [told["arachne"][rate] for rate in rates] == ["12.7", "4.2", "13.6"]
    assert [told["vere"][rate] for rate in rates] == ["unadaptable", "", "13.3"]
    assert [told["genmunn"][rate] for rate in rates] == ["3.5", "", ""]
    assert told["arachne"]["NFR, ours"] == "" and told["arachne"]["NFR, published"] == "0.41"


def test_the_readme_shows_the_repair_rate_as_published_beside_ours() -> None:
    lines = [line("arachne", 13.61), line("· finetune, the same seconds", 16.9)]
    lines += [line("care", 17.5, **{"published outcome": "unadaptable"}), line("· finetune, the same seconds", 32.4)]
    readme = "a\n<!-- benchmark: begin -->\nold\n<!-- benchmark: end -->\nb"
    text = with_table(readme, pandas.DataFrame([*lines, line(label("arachne"), 4.24)]))
    assert text.startswith("a\n<!-- benchmark: begin -->\n|") and text.endswith("|\n<!-- benchmark: end -->\nb")
    told = cells([text_line for text_line in text.splitlines() if text_line.startswith("|")])
    assert set(told) == {"arachne", "care"}
    assert (told["arachne"]["repair rate, ours"], told["arachne"]["as published"]) == ("13.6", "4.2")
    assert told["care"]["as published"] == ""


def test_lines_of_other_rows_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = [line("arachne", 13.6), line("· finetune, the same seconds", 16.9), line(label("arachne"), 1.0)]
    path = tmp_path / "results.csv"
    pandas.DataFrame(before).assign(seeds=3, repaired=3).to_csv(path, index=False)
    monkeypatch.setattr(run, "RESULTS", path)
    again = line(label("arachne"), 4.2, seeds=3, repaired=3)
    frame = run.merged({label("arachne"): [again]})
    assert frame["approach"].tolist() == ["arachne", "· finetune, the same seconds", label("arachne")]
    assert frame["repair rate"].tolist() == [13.6, 16.9, 4.2]
