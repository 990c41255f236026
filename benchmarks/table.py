"""The table of the benchmark."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import mean, stdev

import pandas

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
    "peak MiB": ("cost/peak_memory", 1, "{:.0f}"),
    "evaluation seconds": ("time/evaluation", 1, "{:.1f}"),
}
IN_A_COLUMN = {"cost/peak_memory"}
CONTROL = "·"
"""What the label of a control begins with."""


def line(label: str, published: str, results: Sequence[Result]) -> dict[str, object]:
    """Means over the seeds (rates in percent), the standard deviation of the repair rate, and the published figures."""
    told: dict[str, object] = {"approach": label, "seeds": len(results)}
    for title, (metric, factor, _) in COLUMNS.items():
        values = [factor * result.metrics[metric] for result in results if metric in result.metrics]
        told[title] = mean(values) if values else None
        if title == "repair rate" and len(values) > 1:
            told["sd"] = stdev(values)
    beside = published_result(published, "mnist")
    told["published repair rate"] = 100 * beside.figures["repair_rate"] if beside else None
    told["published seconds"] = beside.figures["time"] if beside else None
    told["counts"] = counts(results)
    return told


def counts(results: Sequence[Result]) -> str:
    """What the approach itself counted (`cost/NAME`), as means over the seeds."""
    names = [name for name in results[0].metrics if name.startswith("cost/") and name not in IN_A_COLUMN]
    means = {name: mean(result.metrics[name] for result in results if name in result.metrics) for name in names}
    return ", ".join(f"{name.removeprefix('cost/').replace('_', ' ')} {value:.4g}" for name, value in means.items())


def markdown(frame: pandas.DataFrame, overhead: Mapping[str, float]) -> str:
    """The table, what each approach counted, and the figures of overhead below."""
    frame, told = frame.drop(columns="counts"), frame[["approach", "counts"]]
    shown = {title: text for title, (_, _, text) in COLUMNS.items()}
    shown |= {"sd": "{:.1f}", "published repair rate": "{:.1f}", "published seconds": "{:.0f}", "seeds": "{:.0f}"}
    rows = ["| " + " | ".join(frame.columns) + " |", "|" + " --- |" * len(frame.columns)]
    for _, row in frame.iterrows():
        cells = [
            str(row[title])
            if title not in shown
            else ""
            if pandas.isna(row[title])
            else shown[title].format(row[title])
            for title in frame.columns
        ]
        rows.append("| " + " | ".join(cells) + " |")
    rows += ["", *(f"- {approach}: {text}" for approach, text in told.to_numpy() if approach[0] != CONTROL)]
    rows += ["", *(f"- {title}: {value:.2f}" for title, value in overhead.items()), ""]
    return "\n".join(rows)
