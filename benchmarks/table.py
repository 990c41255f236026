"""The table of the benchmark."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import mean, stdev

import pandas

from benchmarks.markdown import line_of, table, with_lines
from benchmarks.published import LEGEND, label, regimes
from benchmarks.rows import ROWS
from study.report.published import published as published_result
from study.tracking.result import Result

COLUMNS = {
    "repair rate": ("after/repair_rate", 100, "{:.1f}"),
    "NFR": ("after/negative_flip_rate", 100, "{:.2f}"),
    "accuracy before": ("before/accuracy", 100, "{:.2f}"),
    "accuracy after": ("after/accuracy", 100, "{:.2f}"),
    "ASR before": ("before/attack_success_rate", 100, "{:.1f}"),
    "ASR after": ("after/attack_success_rate", 100, "{:.1f}"),
    "margin ASR before": ("before/margin_attack_success_rate", 100, "{:.1f}"),
    "margin ASR after": ("after/margin_attack_success_rate", 100, "{:.1f}"),
    "seconds": ("time/repair", 1, "{:.1f}"),
    "CPU seconds": ("time/repair_cpu", 1, "{:.1f}"),
    "peak MiB": ("cost/peak_memory", 1, "{:.0f}"),
    "evaluation seconds": ("time/evaluation", 1, "{:.1f}"),
}
IN_README = {
    "approach": "approach",
    "idea": "level: what it does",
    "repair rate": "repair rate, ours",
    "as published": "as published",
    "published repair rate": "published",
    "NFR": "NFR",
    "accuracy after": "accuracy",
    "margin ASR after": "margin ASR",
    "seconds": "seconds",
    "published seconds": "seconds, published",
}
"""Columns of the README's table, and their titles there."""
IN_A_COLUMN = {"cost/peak_memory"}
PASSES = """passes: matrix products and convolutions of the repair, counted in forward passes of the whole network over
one input (seed 0); seconds / passes: the repair's CPU seconds over those that so many passes take in large batches.
seconds: of the clock; CPU seconds: over all threads; threads: of torch, where the row says it."""
CONTROL = "·"
"""What the label of a control begins with."""


def line(label: str, published: str, results: Sequence[Result]) -> dict[str, object]:
    """Means over the seeds (rates in percent), the standard deviation of the repair rate, and the published figures.

    A seed without a repair counts as the faulty model, which stays in use.
    """
    repaired = sum(result.tags["outcome"] == "repaired" for result in results)
    told: dict[str, object] = {"approach": label, "seeds": len(results), "repaired": repaired}
    for title, (metric, factor, _) in COLUMNS.items():
        measured = [result.metrics | unrepaired(result) for result in results]
        values = [factor * metrics[metric] for metrics in measured if metric in metrics]
        told[title] = mean(values) if values else None
        if title == "repair rate" and len(values) > 1:
            told["sd"] = stdev(values)
    beside = published_result(published, "mnist")
    figures = beside.figures if beside else {}
    told["published repair rate"] = 100 * figures["repair_rate"] if figures else None
    told["published seconds"] = figures.get("time/repair")
    told["published outcome"] = beside.outcome if beside and not figures else None
    told["counts"] = counts(results)
    return told


def unrepaired(result: Result) -> dict[str, float]:
    """What stands in place of a repaired model's figures where there is none."""
    if result.tags["outcome"] == "repaired":
        return {}
    return {
        "after/repair_rate": 0.0,
        "after/negative_flip_rate": 0.0,
        "after/accuracy": result.metrics["before/accuracy"],
    }


def counts(results: Sequence[Result]) -> str:
    """What the approach itself counted (`cost/NAME`), as means over the seeds."""
    names = [name for name in results[0].metrics if name.startswith("cost/") and name not in IN_A_COLUMN]
    means = {name: mean(result.metrics[name] for result in results if name in result.metrics) for name in names}
    return ", ".join(f"{name.removeprefix('cost/').replace('_', ' ')} {value:.4g}" for name, value in means.items())


def markdown(frame: pandas.DataFrame, overhead: Mapping[str, float]) -> str:
    """The regimes side by side, all rows, what each approach counted, and the figures of overhead."""
    told = frame[["approach", "counts"]].to_numpy()
    lines = [*regimes(frame), "", LEGEND, "", *rows(frame.drop(columns="counts")), "", PASSES, ""]
    lines += [f"- {approach}: {text}" for approach, text in told if approach[0] != CONTROL]
    return "\n".join([*lines, "", *(f"- {title}: {value:.2f}" for title, value in overhead.items()), ""])


def with_table(readme: str, frame: pandas.DataFrame) -> str:
    """The README with one line per approach between its two marks; controls are in the long table alone."""
    ideas = {row.label: row.idea for row in ROWS if row.idea}
    rates = dict(zip(frame["approach"], frame["repair rate"], strict=True))
    shown = frame[frame["approach"].isin(ideas)].assign(idea=frame["approach"].map(ideas))
    shown["as published"] = [rates.get(label(name)) for name in shown["approach"]]
    _, *lines = rows(shown[[*IN_README, "published outcome"]])
    return with_lines(readme, "benchmark", [line_of(IN_README.values()), *lines])


def rows(frame: pandas.DataFrame) -> list[str]:
    """The lines of a Markdown table; cells without a value are empty, and an outcome stands for the rate it lacks."""
    outcomes = frame["published outcome"]
    frame = frame.astype({"published repair rate": object}).drop(columns="published outcome")
    frame["published repair rate"] = frame["published repair rate"].where(outcomes.isna(), outcomes)
    shown = {title: text for title, (_, _, text) in COLUMNS.items()}
    shown |= {
        "sd": "{:.1f}",
        "as published": "{:.1f}",
        "published repair rate": "{:.1f}",
        "published seconds": "{:.0f}",
        "seeds": "{:.0f}",
        "threads": "{:.0f}",
        "repaired": "{:.0f}",
    }
    shown |= {"passes": "{:,.0f}", "seconds / passes": "{:.1f}"}
    told = []
    for record in frame.to_dict(orient="records"):
        cells = [
            value if isinstance(value, str) else "" if pandas.isna(value) else shown.get(str(title), "{}").format(value)
            for title, value in record.items()
        ]
        told.append(cells)
    return table(list(frame.columns), told)
