"""The tables of `python -m benchmarks.subjects`: what each approach changes on each subject."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from statistics import mean
from typing import Any

import pandas

from benchmarks.markdown import table
from benchmarks.subject_rows import ROWS, SUBJECTS, UNANIMOUS, Subject
from study.report.published import published
from study.tracking.result import Result

HEAD = """# Every subject, repaired on one core

Means over the seeds that ended with a repair, in percent: three seeds of one faulty model or, where there are ten, one
of each of ten splits with a faulty model of its own. The scale of each subject stands in subject_rows.py. Published
repair rates are at the study's full scale: nothing to compare these with. A cell without an arrow: no seed was
repaired, or the property is not applicable. Renaming flips: of the programs that are classified right, the share that
other names of their local variables turn wrong. Seconds: of the clock, beside other work."""
RATES = {
    "accuracy": "accuracy",
    "margin ASR": "margin_attack_success_rate",
    "AAOD": "aaod",
    "renaming flips": "renaming_flip_rate",
}
"""What is measured before and after, in percent."""


def line(subject: Subject, method: str, results: Sequence[Result]) -> dict[str, object]:
    """Means over the seeds that ended with a repair, rates in percent, and the study's figures beside them."""
    outcomes = Counter(result.tags["outcome"] for result in results)
    told: dict[str, object] = {"subject": subject.name, "scale": subject.scale, "method": method}
    told |= {"seeds": len(results), "repaired": outcomes["repaired"]}
    told["reason"] = next((result.tags["reason"] for result in results if "reason" in result.tags), None)
    results = [result for result in results if result.tags["outcome"] == "repaired"] or results
    for title, metric in RATES.items():
        for when in ("before", "after"):
            told[f"{title} {when}"] = percent(results, f"{when}/{metric}")
    told["repair rate"] = percent(results, "after/repair_rate")
    told["NFR"] = percent(results, "after/negative_flip_rate")
    seconds = [result.metrics["time/repair"] for result in results if "time/repair" in result.metrics]
    told["seconds"] = mean(seconds) if seconds else None
    told["outcome"] = ", ".join(f"{count} {outcome}" for outcome, count in outcomes.items())
    beside = published(method, subject.dataset)
    for title, key in (("repair rate", "repair_rate"), ("NFR", "negative_flip_rate"), ("accuracy", "accuracy")):
        told[f"published {title}"] = 100 * beside.figures[key] if beside and key in beside.figures else None
    return told


def percent(results: Sequence[Result], metric: str) -> float | None:
    """Mean over the seeds that have the metric, in percent."""
    values = [result.metrics[metric] for result in results if metric in result.metrics]
    return 100 * mean(values) if values else None


def markdown(frame: pandas.DataFrame) -> str:
    """Before and after with an arrow between, the published repair rate beside ours."""
    titles = ("accuracy", "repair rate", "published", "NFR", "margin ASR", "AAOD", "renaming flips", "seconds")
    told = []
    for record in frame.to_dict(orient="records"):
        change = {title: f"{_shown(record[f'{title} before'])} → {_shown(record[f'{title} after'])}" for title in RATES}
        if not record["repaired"]:
            kept = [change["accuracy"].partition(" →")[0], str(record["outcome"]), *[""] * (len(titles) - 2)]
            told.append([str(record["subject"]), str(record["method"]), str(record["seeds"]), *kept])
            continue
        cells = {title: text.replace("- → -", "") for title, text in change.items()}
        cells |= {title: _shown(record[title]) for title in ("repair rate", "seconds")}
        cells |= {"NFR": _shown(record["NFR"], 2), "published": _shown(record["published repair rate"], none="")}
        seeds = f"{record['repaired']} of {record['seeds']}"
        told.append([str(record["subject"]), str(record["method"]), seeds, *(cells[title] for title in titles)])
    return "\n".join(table(["subject", "approach", "seeds", *titles], told))


def in_readme(frame: pandas.DataFrame) -> list[str]:
    """A line per subject: its accuracy before, then what each approach changes."""
    methods = [name for name in ROWS if name != UNANIMOUS]
    told = []
    known = {subject.name: subject for subject in SUBJECTS}
    for name, own in frame.groupby("subject", sort=False):
        records = own.to_dict(orient="records")
        changes = {record["method"]: _change(record) for record in records}
        most = max(records, key=lambda record: record["repaired"])
        cells = [str(name), str(known[str(name)].splits), _shown(most["accuracy before"])]
        told.append([*cells, *(changes.get(method, "") for method in methods)])
    return table(["subject", "splits", "accuracy before", *methods], told)


def _change(record: Mapping[Hashable, Any]) -> str:
    """Change in accuracy, repair rate and negative flips of a line of the table, or the outcome."""
    if not record["repaired"]:
        return "n/a" if "unadaptable" in record["outcome"] else str(record["outcome"]).partition(" ")[2]
    change = round(record["accuracy after"] - record["accuracy before"], 1)
    told = f"{f'{change:+}' if change else '0.0'} / {_shown(record['repair rate'])} / {_shown(record['NFR'])}"
    return told if record["repaired"] == record["seeds"] else f"{told} ({record['repaired']} of {record['seeds']})"


def _shown(value: float | None, digits: int = 1, none: str = "-") -> str:
    """A number of the table, `none` where there is none."""
    return none if value is None or pandas.isna(value) else f"{value:.{digits}f}"
