"""The rows of `make bench-published`: every approach in the regime of its authors (`conf/method/published/`) on MNIST.

They stand between the published figures and our own settings: only they are a reproduction. Some have a row without
their idea as well, for what that adds in this regime.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import pandas

from benchmarks.markdown import table
from benchmarks.rows import ROWS, Row
from study.report.published import published

WITHOUT: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "apricot": {"without shifts": ("method.eta=0",)},
    "deeprepair": {"without style": ("method.operator=none",)},
    "hudd": {"with a random bag": ("method.bag=random",)},
    "hybridrepair": {"with random labels": ("method.labels=random",)},
}
"""What an approach is without its idea: how the row says so, and the settings."""
NAMES: Sequence[str] = (
    "arachne",
    "care",
    "neurecover",
    "irepair",
    "distrrep",
    "vere",
    "inner",
    "fsgmix",
    "reassure",
    "apricot",
    "editable_training",
    "deeprepair",
    "hudd",
    "hybridrepair",
)
"""Approaches of the study whose authors' regime is known."""


def label(name: str) -> str:
    """What the row of an approach in its authors' regime is called."""
    return f"{name} as published"


def _rows() -> Iterator[Row]:
    for name in NAMES:
        yield Row(label(name), f"published/{name}", published=name, control="none")
        for how, settings in WITHOUT.get(name, {}).items():
            yield Row(f"{label(name)}, {how}", f"published/{name}", settings, control="none")


AS_PUBLISHED: Sequence[Row] = tuple(_rows())
FIGURES = {
    "repair rate": ("repair_rate", 100, "{:.1f}"),
    "NFR": ("negative_flip_rate", 100, "{:.2f}"),
    "accuracy after": ("accuracy", 100, "{:.2f}"),
    "ASR after": ("attack_success_rate", 100, "{:.1f}"),
    "seconds": ("time/repair", 1, "{:.0f}"),
}
"""Of a figure: its key among the published ones, their factor, and how a value is shown."""
MEASURED = {"seconds": "CPU seconds"}
"""The column of the benchmark that a figure is in, where it has another name."""
LEGEND = """published: the study's figures; as published: measured here in the authors' regime (method=published/NAME,
whose file says at which scale), empty where it is not known; ours: our own settings (method=NAME). Seconds: the study's
are of the clock, those measured here CPU seconds."""


def regimes(frame: pandas.DataFrame) -> list[str]:
    """A Markdown table with a line for each approach of the study: each figure published, as published, and ours.

    frame: the lines of the benchmark; what is not among them is empty.
    """
    lines = {str(line["approach"]): line for line in frame.to_dict(orient="records")}
    heads = [f"{title}, {regime}" for title in FIGURES for regime in ("published", "as published", "ours")]
    told = []
    for name in dict.fromkeys(row.published for row in ROWS if row.published):
        beside = published(name, "mnist")
        assert beside is not None
        cells = [name]
        for title, (key, factor, text) in FIGURES.items():
            figure = text.format(factor * beside.figures[key]) if beside.figures else beside.outcome
            measured = [lines.get(row, {}).get(MEASURED.get(title, title)) for row in (label(name), name)]
            cells += [figure, *("" if pandas.isna(value) else text.format(value) for value in measured)]
        told.append(cells)
    return table(["approach", *heads], told)
