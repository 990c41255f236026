"""Which runs count: those that were asked for, and of repeated jobs the newest."""

from collections.abc import Iterable
from dataclasses import dataclass, fields

import pandas as pd

from study.errors import UsageError, nearest
from study.report.identity import JOB

FAULTY = "none"
"""The tag `method` of a job that measures the faulty model alone."""


@dataclass(frozen=True)
class Filters:
    """Accepted values of each tag; empty: all."""

    sweep: tuple[str, ...] = ()
    dataset: tuple[str, ...] = ()
    method: tuple[str, ...] = ()


def select(runs: pd.DataFrame, filters: Filters) -> pd.DataFrame:
    """The runs that pass every filter; with a chosen approach stays the faulty model of each subject where it ran.

    Raises:
        UsageError: A value occurs in no run, or no run passes all filters together.
    """
    chosen = runs
    for field in fields(filters):
        accepted = getattr(filters, field.name)
        if not accepted:
            continue
        _refuse_unknown(field.name, accepted, set(runs[field.name]) - {""})
        allowed = chosen[field.name].isin(accepted)
        if field.name == "method":
            beside = chosen["subject"].isin(chosen.loc[allowed, "subject"])
            allowed |= (chosen["method"] == FAULTY) & beside
        chosen = chosen[allowed]
    if chosen.empty:
        asked = {field.name: getattr(filters, field.name) for field in fields(filters)}
        words = " ".join(f"--{name} {','.join(values)}" for name, values in asked.items() if values)
        raise UsageError(f"no run passes all of {words} together")
    return chosen


def _refuse_unknown(tag: str, values: Iterable[str], known: set[str]) -> None:
    for value in values:
        if value not in known:
            raise UsageError(f"--{tag}: no run has {tag} {value!r}; {nearest(value, known)}")


def newest(runs: pd.DataFrame) -> tuple[pd.DataFrame, int]:
    """One run per job: the newest finished one, or the newest crashed one where none finished.

    Args:
        runs: As `runs.read` gives them.

    Returns:
        The runs that count, and how many older finished ones were left out.
    """
    ordered = runs.sort_values(["finished", "ended"], ascending=False, kind="stable")
    current = ordered.drop_duplicates(JOB)
    return current, int(runs["finished"].sum() - current["finished"].sum())
