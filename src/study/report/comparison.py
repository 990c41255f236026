"""Runs become a comparison: per subject a table of approaches by properties. Pure; knows no store and no output."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import pandas as pd

from study.report.properties import Property, present, union
from study.report.published import Publication, published
from study.report.selection import FAULTY, SUBJECT

LEVELS = ("model", "layer", "neuron")


@dataclass(frozen=True)
class Figure:
    """One property of one approach: mean and sample standard deviation over seeds (None for one seed).

    `gain` is the mean improvement relative to the faulty model, as a fraction, positive is better; `protocol` says how
    it was measured, in one line per way in which it was.
    """

    mean: float
    spread: float | None
    n: int
    gain: float | None = None
    best: bool = False
    protocol: str = ""


@dataclass(frozen=True)
class Outcome:
    """How `n` of the runs ended, and the different reasons that they gave."""

    word: str
    n: int
    reasons: tuple[str, ...]


@dataclass(frozen=True)
class Row:
    """One approach (with a safeguard, if any) on one subject. Figures are of its `repaired` runs, by property key.

    `not_applicable` says why other properties have no figure, by property key.
    """

    method: str
    safeguard: str
    level: str
    runs: int
    outcomes: tuple[Outcome, ...]
    masked: int
    unchanged: int
    figures: Mapping[str, Figure]
    published: Publication | None = None
    not_applicable: Mapping[str, str] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The approach as a reader sees it."""
        if self.method == FAULTY:
            return "faulty model"
        return self.method if self.safeguard == "none" else f"{self.method} + {self.safeguard}"

    @property
    def control(self) -> bool:
        """Whether it is plain training, against which claims are held."""
        return self.method.removeprefix("full/").startswith("finetune")

    @property
    def repaired(self) -> int:
        """Number of runs that the figures come from."""
        return sum(outcome.n for outcome in self.outcomes if outcome.word == "repaired")

    @property
    def word(self) -> str:
        """What stands in place of numbers: the most frequent outcome other than repaired, or empty."""
        others = [outcome for outcome in self.outcomes if outcome.word != "repaired"]
        return "" if self.repaired or not others else max(others, key=lambda outcome: outcome.n).word


@dataclass(frozen=True)
class Subject:
    """One data set with one architecture: the faulty model and the approaches that tried to repair it."""

    dataset: str
    architecture: str
    faulty: Row
    rows: tuple[Row, ...]

    @property
    def name(self) -> str:
        return f"{self.dataset} / {self.architecture}"


@dataclass(frozen=True)
class Comparison:
    """Everything that the report shows; `not_applicable` are properties that apply to no run, with the reasons."""

    properties: tuple[Property, ...]
    subjects: tuple[Subject, ...]
    runs: int
    left_out: int
    not_applicable: tuple[tuple[Property, str], ...] = ()


def compare(runs: pd.DataFrame, left_out: int = 0) -> Comparison:
    """Compare the runs that count (one per job, `selection.newest`); `left_out` older ones are only reported."""
    properties = present(runs)
    subjects = tuple(
        _subject(str(dataset), str(architecture), group, properties)
        for (dataset, architecture), group in runs.groupby(SUBJECT)
    )
    why = _not_applicable(runs)
    nowhere = tuple((item, why[item.key]) for item in union(runs) if item.key in why and item not in properties)
    return Comparison(properties, subjects, len(runs), left_out, nowhere)


def _subject(dataset: str, architecture: str, runs: pd.DataFrame, properties: Sequence[Property]) -> Subject:
    approaches = runs[runs["method"] != FAULTY]
    rows = [
        _row(str(method), str(safeguard), dataset, group, properties)
        for (method, safeguard), group in approaches.groupby(["method", "safeguard"])
    ]
    rows.sort(key=lambda row: (_depth(row.level), row.method, row.safeguard != "none", row.safeguard))
    return Subject(dataset, architecture, _faulty(runs, properties), _mark_best(rows, properties))


def _depth(level: str) -> int:
    return LEVELS.index(level) if level in LEVELS else len(LEVELS)


def _row(method: str, safeguard: str, dataset: str, runs: pd.DataFrame, properties: Sequence[Property]) -> Row:
    repaired = runs[runs["outcome"] == "repaired"]
    return Row(
        method=method,
        safeguard=safeguard,
        level=next((str(level) for level in runs["level"] if level), ""),
        runs=len(runs),
        outcomes=_outcomes(runs),
        masked=int(repaired["gradient_masking"].sum()),
        unchanged=int((~repaired["changed"]).sum()),
        figures={
            item.key: replace(figure, protocol=_protocol(repaired, item, item.metric))
            for item in properties
            if (figure := _figure(repaired, item.metric, item.gain)) is not None
        },
        # A safeguard changes the result, so the figures of the bare approach do not belong beside it.
        published=published(method, dataset) if safeguard == "none" else None,
        not_applicable=_not_applicable(repaired),
    )


def _faulty(runs: pd.DataFrame, properties: Sequence[Property]) -> Row:
    """The faulty model as it was measured alone, else as the approaches' runs saw it, averaged per seed."""
    alone = runs[runs["method"] == FAULTY]
    figures = {}
    for item in properties:
        if item.before not in runs:
            continue
        source = alone if alone[item.before].notna().any() else runs
        per_seed = source.groupby("seed")[[item.before]].mean()
        if (figure := _figure(per_seed, item.before, None)) is not None:
            figures[item.key] = replace(figure, protocol=_protocol(source, item, item.before))
    return Row(
        method=FAULTY,
        safeguard="none",
        level="",
        runs=runs["seed"].nunique(),
        outcomes=(),
        masked=0,
        unchanged=0,
        figures=figures,
        not_applicable=_not_applicable(runs if alone.empty else alone),
    )


def _figure(runs: pd.DataFrame, metric: str, gain: str | None) -> Figure | None:
    values = runs[metric].dropna() if metric in runs else pd.Series(dtype=float)
    if values.empty:
        return None
    gains = runs[gain].dropna() if gain in runs else pd.Series(dtype=float)
    return Figure(
        mean=float(values.mean()),
        spread=float(values.std(ddof=1)) if len(values) > 1 else None,
        n=len(values),
        gain=None if gains.empty else float(gains.mean()),
    )


def _protocol(runs: pd.DataFrame, item: Property, metric: str) -> str:
    """How the runs that have the metric say that they measured the property."""
    stated = [properties.get(item.key) for properties in runs.loc[runs[metric].notna(), "properties"]]
    return "\n".join(sorted({own.protocol for own in stated if own is not None and own.protocol}))


def _not_applicable(runs: pd.DataFrame) -> dict[str, str]:
    """Why properties do not apply, by key, all runs together."""
    found: dict[str, set[str]] = {}
    for reasons in runs["not_applicable"]:
        for key, reason in reasons.items():
            found.setdefault(key, set()).add(reason)
    return {key: "; ".join(sorted(texts)) for key, texts in found.items()}


def _outcomes(runs: pd.DataFrame) -> tuple[Outcome, ...]:
    counts = runs["outcome"].value_counts()
    return tuple(
        Outcome(
            str(word),
            int(n),
            tuple(sorted({str(reason) for reason in runs.loc[runs["outcome"] == word, "reason"] if reason})),
        )
        for word, n in sorted(counts.items(), key=lambda item: (item[0] != "repaired", -item[1], item[0]))
    )


def _mark_best(rows: Sequence[Row], properties: Sequence[Property]) -> tuple[Row, ...]:
    """Mark the best mean of each column where at least two approaches compete and differ.

    An approach that changed nothing cannot win by breaking nothing, nor one with masked gradients by what they flatter.
    """
    marked = list(rows)
    for item in properties:
        if item.higher_is_better is None:
            continue
        rivals = {
            index: row.figures[item.key].mean
            for index, row in enumerate(rows)
            if item.key in row.figures and row.unchanged < row.repaired and not (item.maskable and row.masked)
        }
        if len(set(rivals.values())) < 2:
            continue
        top = max(rivals.values()) if item.higher_is_better else min(rivals.values())
        for index in (index for index, mean in rivals.items() if mean == top):
            figures = dict(marked[index].figures)
            figures[item.key] = replace(figures[item.key], best=True)
            marked[index] = replace(marked[index], figures=figures)
    return tuple(marked)
