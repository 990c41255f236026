"""Box plots of the safeguards around a repair."""

from __future__ import annotations

import base64
import io
import statistics
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure as Drawing
from matplotlib.lines import Line2D
from PIL import Image

from study.report import page, safeguards
from study.report.comparison import Outcome, Row, Subject, compare
from study.report.figures import Figure
from study.report.properties import Property
from study.report.selection import newest
from study.report.writing import write
from tests.report.store import Store

ACCURACY = Property("accuracy", "accuracy", "rate", higher_is_better=True)
FLIPS = Property("negative_flip_rate", "negative flips", "rate", higher_is_better=False)
PROPERTIES = (
    ACCURACY,
    FLIPS,
    Property("churn", "churn", "rate"),
    Property("ece", "ECE", "rate", higher_is_better=False, summary=False),
    Property("time/repair", "repair time", "seconds", higher_is_better=False),
    Property("aaod", "AAOD", "rate", higher_is_better=False),
)


def row(name: str, *values: float, word: str = "repaired", key: str = "accuracy") -> Row:
    """An approach with one value per seed."""
    by_seed = {str(seed): value for seed, value in enumerate(values)}
    every = {
        own: Figure(statistics.fmean(values), None, len(values), by_seed=by_seed)
        for own in (key, "churn", "ece", "time/repair")
        if values
    }
    method, _, safeguard = name.partition(" + ")
    count, repair = max(1, len(values)), method.partition(",")[0]
    outcomes = (Outcome(word, count, ()),)
    return Row(name, method, safeguard or "none", "model", count, outcomes, 0, 0, every, repair=repair)


def subject(*rows: Row) -> Subject:
    faulty = Row("faulty model", "none", "none", "", 3, (), 0, 0, {"accuracy": Figure(0.9, None, 3)})
    return Subject("digits / mlp", "digits", "mlp", faulty, rows)


GUARDED = subject(
    row("apricot", 0.91, 0.95, 0.92),
    row("apricot + soft_voting tau=0.3", 0.93, 0.94, 0.96),
    row("care", 0.8),
    row("finetune epochs=2 + soft_voting tau=0.3", 0.92, 0.90),
    row("finetune epochs=2", 0.97, 0.99),
    row("inner", word="failure"),
    row("inner + soft_voting", word="failure"),
)


def test_repairs_with_several_safeguards_are_drawn() -> None:
    found = safeguards.boxes(GUARDED)
    assert {repair: set(rows) for repair, rows in found.items()} == {
        "apricot": {"none", "soft_voting tau=0.3"},
        "finetune epochs=2": {"none", "soft_voting tau=0.3"},
    }
    assert [item.key for item in safeguards.shown(found, PROPERTIES)] == ["accuracy"]


def test_a_repair_measured_in_several_ways_stands_once_for_each_beside_its_safeguards() -> None:
    ways = row("care, metric samples=10", 0.8), row("care, metric samples=500", 0.8, 0.9)
    guarded = subject(*ways, row("care + unanimity", 0.7))
    found = safeguards.boxes(guarded)
    assert {repair: list(rows) for repair, rows in found.items()} == {
        "care": ["none, metric samples=10", "none, metric samples=500", "unanimity"]
    }
    (axes,) = safeguards.figure(guarded, found, [ACCURACY]).axes
    assert [text.get_text() for text in axes.get_xticklabels()] == list(found["care"])
    assert not safeguards.boxes(subject(*ways))


def test_each_box_holds_the_values_of_its_seeds() -> None:
    found = safeguards.boxes(GUARDED)
    drawn = safeguards.figure(GUARDED, found, [ACCURACY])
    (axes,) = drawn.axes
    dots = [heights(line) for line in axes.lines if line.get_marker() == "."]
    assert dots == [
        pytest.approx([91, 95, 92]),
        pytest.approx([93, 94, 96]),
        pytest.approx([92, 90]),
        pytest.approx([97, 99]),
    ]
    places = [float(np.asarray(line.get_xdata())[0]) for line in axes.lines if line.get_marker() == "."]
    assert [round(place) for place in places] == [0, 1, 1, 0]  # `none` comes first
    assert places[0] < places[3] and places[1] < places[2]  # side by side, the same order everywhere
    assert any(heights(line) == pytest.approx([92, 92]) for line in axes.lines if line.get_marker() != ".")  # a median
    assert any(line.get_linestyle() == "--" and heights(line) == [90, 90] for line in axes.lines)
    assert [text.get_text() for text in axes.get_xticklabels()] == ["none", "soft_voting tau=0.3"]
    assert legend(drawn) == {"apricot (n=3)", "finetune epochs=2 (n=2)", "faulty model"}


def heights(line: Line2D) -> list[float]:
    """Where a line, or its dots, lie."""
    return [float(value) for value in np.asarray(line.get_ydata())]


def legend(drawn: Drawing) -> set[str]:
    return {text.get_text() for each in drawn.legends for text in each.get_texts()}


def test_a_property_that_some_rows_lack_has_a_panel_of_its_own() -> None:
    flips = [
        row("apricot + hard_voting", 0.01, 0.02, key="negative_flip_rate"),
        row("apricot + unanimity", 0.0, 0.0, key="negative_flip_rate"),
    ]
    guarded = subject(*GUARDED.rows, *flips)
    found = safeguards.boxes(guarded)
    panels = safeguards.shown(found, PROPERTIES)
    drawn = safeguards.figure(guarded, found, panels)
    assert [axes.get_title() for axes in drawn.axes] == ["accuracy % ↑", "negative flips % ↓"]
    content = safeguards.picture(guarded, PROPERTIES)
    assert content is not None and min(Image.open(io.BytesIO(content)).size) > 300


def test_nothing_is_drawn_where_there_is_nothing_to_compare() -> None:
    assert safeguards.picture(subject(row("apricot", 0.9), row("finetune", 0.9)), PROPERTIES) is None
    assert safeguards.picture(GUARDED, [FLIPS]) is None


def test_the_pictures_lie_beside_the_page_and_in_it(
    store: Store, frame: pd.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = page.html(compare(*newest(frame)), {"digits / mlp": b"a picture"})
    assert f'src="data:image/png;base64,{base64.b64encode(b"a picture").decode()}"' in text
    assert 'id="safeguards"' not in page.html(compare(*newest(frame)))
    monkeypatch.setattr(safeguards, "picture", lambda own, _: b"a picture" if own.dataset == "digits" else None)
    written = write(store.uri, "study", tmp_path)
    assert 'data-subject="digits / mlp"><img' in written.read_text()
    assert {path.name for path in tmp_path.glob("*.png")} == {"safeguards_digits_mlp.png"}
    assert (tmp_path / "safeguards_digits_mlp.png").read_bytes() == b"a picture"
