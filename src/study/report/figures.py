"""The numbers of one row: a property's mean and spread over seeds, and how it differs from the faulty model's."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import pandas as pd

from study.report.properties import Property


@dataclass(frozen=True)
class Change:
    """After minus before: mean and sample standard deviation (None for one run) over runs.

    relative: mean of the change as a fraction of the value before, None where that is 0.
    """

    mean: float
    spread: float | None = None
    relative: float | None = None


@dataclass(frozen=True)
class Figure:
    """One property of one row: mean and sample standard deviation over runs (None for one).

    gain: mean improvement relative to the faulty model as the study defines it, a fraction, positive is better; best:
    whether it leads its column clearly; protocol: how it was measured, in one line per way; change: the difference to
    the faulty model, None where that has no such property; by_seed: the values; ways: the different ways in which the
    runs measured it, where they say so; interval: the ends of the runs' own 95 % intervals over test inputs, the mean
    of each.
    """

    mean: float
    spread: float | None
    n: int
    gain: float | None = None
    best: bool = False
    protocol: str = ""
    change: Change | None = None
    by_seed: Mapping[str, float] = field(default_factory=dict)
    ways: frozenset[str] = frozenset()
    interval: tuple[float, float] | None = None


def repaired(runs: pd.DataFrame, item: Property) -> Figure | None:
    """The figure of a property after the repair, None where no run has it; `runs` are at most one per seed."""
    measured = runs[runs[item.metric].notna()] if item.metric in runs else runs.iloc[:0]
    if measured.empty:
        return None
    values = measured[item.metric]
    gains = measured[item.gain].dropna() if item.gain in measured else pd.Series(dtype=float)
    return Figure(
        mean=float(values.mean()),
        spread=_deviation(values),
        n=len(values),
        gain=None if gains.empty else float(gains.mean()),
        protocol=_protocol(measured, item),
        change=_change(measured, item),
        by_seed={str(seed): float(value) for seed, value in zip(measured["seed"], values, strict=True)},
        ways=frozenset(measures[item.key] for measures in measured["measures"] if item.key in measures),
        interval=_interval(measured, item),
    )


def faulty(runs: pd.DataFrame, item: Property, alone: str) -> Figure | None:
    """The figure of a property before the repair, over faulty models; None where no run has it.

    Where a job measured the faulty model alone (method `alone`) that counts, elsewhere what the approaches' jobs saw;
    where they measured in several ways, the most frequent one counts.
    """
    measured = runs[runs[item.before].notna()] if item.before in runs else runs.iloc[:0]
    if measured.empty:
        return None
    ways = [measures.get(item.key, "") for measures in measured["measures"]]
    usual = max(dict.fromkeys(ways), key=ways.count)
    measured = measured[[way == usual for way in ways]]
    own = measured["method"] == alone
    seen = own | ~measured["subject_seed"].isin(measured.loc[own, "subject_seed"])
    values = measured[seen].groupby("subject_seed")[item.before].mean()
    return Figure(float(values.mean()), _deviation(values), len(values), protocol=_protocol(measured[seen], item))


def _protocol(measured: pd.DataFrame, item: Property) -> str:
    stated = [properties.get(item.key) for properties in measured["properties"]]
    return "\n".join(sorted({own.protocol for own in stated if own is not None and own.protocol}))


def _change(measured: pd.DataFrame, item: Property) -> Change | None:
    """Over the runs that have the property both before and after."""
    if item.before not in measured:
        return None
    both = measured[measured[item.before].notna()]
    if both.empty:
        return None
    before = both[item.before]
    change = both[item.metric] - before
    relative = None if (before == 0).any() else float((change / before).mean())
    return Change(float(change.mean()), _deviation(change), relative)


def _interval(measured: pd.DataFrame, item: Property) -> tuple[float, float] | None:
    """Over the runs that have one."""
    low, high = item.interval
    if low not in measured or high not in measured:
        return None
    ends = measured[[low, high]].dropna()
    return None if ends.empty else (float(ends[low].mean()), float(ends[high].mean()))


def _deviation(values: pd.Series) -> float | None:
    return float(values.std(ddof=1)) if len(values) > 1 else None
