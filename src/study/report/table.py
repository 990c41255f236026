"""The comparison as CSV: one line per subject and approach, plain numbers (rates in [0, 1], seconds, MiB)."""

import pandas as pd

from study.report.comparison import Comparison, Row, Subject
from study.report.properties import Property


def csv(comparison: Comparison) -> str:
    """The whole table as text. Per property: mean, std, n, difference (after minus before), low and high (95 % interval
    over test inputs, the mean of the runs'), gain, best and what was published; empty where not known."""
    lines = [
        _line(subject, row, comparison.properties)
        for subject in comparison.subjects
        for row in (subject.faulty, *subject.rows)
    ]
    return str(pd.DataFrame(lines).to_csv(index=False, lineterminator="\n"))


def _line(subject: Subject, row: Row, properties: tuple[Property, ...]) -> dict[str, object]:
    line: dict[str, object] = {
        "subject": subject.name,
        "dataset": subject.dataset,
        "architecture": subject.architecture,
        "method": row.method,
        "safeguard": row.safeguard,
        "settings": row.settings,
        "level": row.level,
        "control": row.control,
        "runs": row.runs,
        "outcome": "; ".join(f"{outcome.word} {outcome.n}/{row.runs}" for outcome in row.outcomes),
        "reason": "; ".join(reason for outcome in row.outcomes for reason in outcome.reasons),
        "gradient_masking": row.masked,
        "unchanged": row.unchanged,
        "verdict": row.verdict,
        "p_value": row.p_value,
        "distinguishable": None if row.p_value is None else not row.doubtful,
        "published_outcome": row.published.outcome if row.published else None,
    }
    for item in properties:
        figure = row.figures.get(item.key)
        line |= {
            f"{item.key}_mean": figure.mean if figure else None,
            f"{item.key}_std": figure.spread if figure else None,
            f"{item.key}_n": figure.n if figure else 0,
            f"{item.key}_difference": figure.change.mean if figure and figure.change else None,
            f"{item.key}_low": figure.interval[0] if figure and figure.interval else None,
            f"{item.key}_high": figure.interval[1] if figure and figure.interval else None,
            f"{item.key}_gain": figure.gain if figure else None,
            f"{item.key}_best": figure.best if figure else False,
            f"{item.key}_published": row.published.figures.get(item.key) if row.published else None,
            f"{item.key}_published_gain": row.published.gains.get(item.key) if row.published else None,
        }
    return line
