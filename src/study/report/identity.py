"""Which runs belong together: those of one subject, and within it those of one approach with the same settings."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

ROW = ["subject", "row", "group"]
JOB = [*ROW, "seed"]
"""Columns that make two runs results of the same job; the later one counts."""


def identified(runs: pd.DataFrame) -> pd.DataFrame:
    """The runs with a `subject` and a `row` each, and a `group`: its number among those of a row that measured alike.

    A job that crashed before its keys were known has no tags for them: it is taken for one of the newest run of the
    same name.

    Args:
        runs: newest first, with the tags of `runs.TAGS` as text and `measures` (how each property was measured).
    """
    known = runs.assign(subject=_adopted(runs, "subject", ["subject_name"]))
    known = known.assign(row=_adopted(known, "row", ["approach"]))
    return known.assign(group=_groups(known))


def _adopted(runs: pd.DataFrame, key: str, name: list[str]) -> pd.Series:
    """A key for each run: its own, that of the newest run of the same name, or else the name."""
    own = runs[key].where(runs[key] != "")
    return own.fillna(own.groupby([runs[column] for column in name]).transform("first")).fillna(runs[name[0]])


def _groups(runs: pd.DataFrame) -> pd.Series:
    """Numbers of groups within each row: two runs that measured one property in different ways are never in one."""
    known: dict[tuple[str, str], list[dict[str, str]]] = {}
    told = [
        _fitting(known.setdefault((subject, row), []), measures)
        for subject, row, measures in zip(runs["subject"], runs["row"], runs["measures"], strict=True)
    ]
    return pd.Series(told, index=runs.index)


def _fitting(known: list[dict[str, str]], measures: Mapping[str, str]) -> int:
    """The first group that agrees with a run, which is added to it; a new one where none does."""
    for number, group in enumerate(known):
        if all(group.get(name, how) == how for name, how in measures.items()):
            group.update(measures)
            return number
    known.append(dict(measures))
    return len(known) - 1
