"""Runs become a comparison: per subject a table of approaches by properties. Pure; knows no store and no output."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import pandas as pd

from study.report import figures, ranking
from study.report.figures import Figure
from study.report.identity import ROW
from study.report.naming import distinct, natural, shared
from study.report.properties import Property, present, union
from study.report.published import Publication, published
from study.report.selection import FAULTY

LEVELS = ("model", "layer", "neuron")
OF_SUBJECT = ("dataset.", "architecture.", "faulty.", "subject.")
OF_ROW = ("method.", "safeguard.", "metric.")
"""Groups of settings in which two subjects, or two rows of one, can differ."""


@dataclass(frozen=True)
class Outcome:
    """How `n` of the runs ended, and the different reasons that they gave."""

    word: str
    n: int
    reasons: tuple[str, ...]


@dataclass(frozen=True)
class Row:
    """One approach with its settings (and a safeguard, if any) on one subject.

    name: the approach as a reader sees it, unlike every other of its subject; repair: the same for rows of one repair
    that differ in safeguard or in how they were measured; settings: what of it is neither method nor safeguard;
    figures: of its `repaired` runs, by property key; not_applicable: why other properties have none, by key; seeds: of
    its runs, in order; verdict: what is to be said where accuracy does not rise; p_value: of the change in accuracy
    (see `ranking.p_value`); fitted: of the failing inputs that the repair was given, the share right after.
    """

    name: str
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
    repair: str = ""
    settings: str = ""
    seeds: tuple[str, ...] = ()
    verdict: str = ""
    p_value: float | None = None
    fitted: float | None = None

    @property
    def doubtful(self) -> bool:
        """Whether its change in accuracy cannot be told from none."""
        return self.p_value is not None and self.p_value > ranking.SIGNIFICANT

    @property
    def control(self) -> bool:
        """Whether it is plain training, against which claims are held."""
        return self.method.rpartition("/")[2].startswith(("finetune", "retrained"))

    @property
    def repaired(self) -> int:
        """Number of runs that the figures come from."""
        return sum(outcome.n for outcome in self.outcomes if outcome.word == "repaired")

    @property
    def word(self) -> str:
        """What stands in place of numbers: the most frequent outcome other than repaired, or empty."""
        others = [outcome for outcome in self.outcomes if outcome.word != "repaired"]
        return "" if self.repaired or not others else max(others, key=lambda outcome: outcome.n).word

    @property
    def published_word(self) -> str:
        """What the published study says in place of numbers, or empty."""
        return "" if self.published is None or self.published.outcome == "repaired" else self.published.outcome


@dataclass(frozen=True)
class Subject:
    """One data set with one architecture and one way to its faulty models, and the approaches that repair these."""

    name: str
    dataset: str
    architecture: str
    faulty: Row
    rows: tuple[Row, ...]

    def known(self, properties: Sequence[Property]) -> list[Property]:
        """Those of the properties that have a figure on this subject, or a reason for not having one."""
        told = {key for row in (self.faulty, *self.rows) for key in (*row.figures, *row.not_applicable)}
        return [item for item in properties if item.key in told]


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
    groups = {(str(key),): group for key, group in runs.groupby("subject")}
    names = {key: _shortest(group["subject_name"]) for key, group in groups.items()}
    added = distinct(names, {key: shared(group["params"], OF_SUBJECT) for key, group in groups.items()})
    subjects = [
        _subject(", ".join(filter(None, [names[key], added[key]])), group, properties) for key, group in groups.items()
    ]
    why = _not_applicable(runs)
    nowhere = tuple((item, why[item.key]) for item in union(runs) if item.key in why and item not in properties)
    ordered = tuple(sorted(subjects, key=lambda subject: natural(subject.name)))
    return Comparison(properties, ordered, len(runs), left_out, nowhere)


def _subject(name: str, runs: pd.DataFrame, properties: Sequence[Property]) -> Subject:
    approaches = runs[runs["method"] != FAULTY]
    groups = {tuple(map(str, key[1:])): group for key, group in approaches.groupby(ROW)}
    names = {key: _shortest(group["approach"]) for key, group in groups.items()}
    added = distinct(names, {key: shared(group["params"], OF_ROW) for key, group in groups.items()})
    repairs = _repairs(names, groups)
    rows = [_row(names[key], added[key], repairs[key], group, properties) for key, group in groups.items()]
    rows.sort(
        key=lambda row: (_depth(row.level), row.method, row.safeguard != "none", row.safeguard, natural(row.name))
    )
    first = runs.iloc[0]
    faulty = _faulty(runs, properties)
    return Subject(name, str(first["dataset"]), str(first["architecture"]), faulty, _mark_best(rows, properties))


def _shortest(names: pd.Series) -> str:
    """Of the names that the runs of one thing have; a value that is the default may have been spelt out in some."""
    return min(map(str, names), key=lambda name: (len(name), name))


def _repairs(
    names: Mapping[tuple[str, ...], str], groups: Mapping[tuple[str, ...], pd.DataFrame]
) -> dict[tuple[str, ...], str]:
    """What to call the repair of each row: its approach without the safeguard, told apart by the method's settings."""
    known = {key: shared(group["params"], ("method.",)) for key, group in groups.items()}
    told = {key: (names[key].partition(" + ")[0], str(sorted(known[key].items()))) for key in groups}
    settings = {told[key]: own for key, own in known.items()}
    added = distinct({repair: repair[0] for repair in settings}, settings)
    return {key: ", ".join(filter(None, [repair[0], added[repair]])) for key, repair in told.items()}


def _depth(level: str) -> int:
    return LEVELS.index(level) if level in LEVELS else len(LEVELS)


def _row(approach: str, added: str, repair: str, runs: pd.DataFrame, properties: Sequence[Property]) -> Row:
    repaired, first = runs[runs["outcome"] == "repaired"], runs.iloc[0]
    method, safeguard = str(first["method"]), str(first["safeguard"])
    found = {item.key: own for item in properties if (own := figures.repaired(repaired, item)) is not None}
    chance = ranking.p_value(repaired, properties)
    if chance is not None:  # not the mean of the runs' own
        tested = [item.key for item in properties if item.role == "p_value" and item.key in found]
        found |= {key: replace(found[key], mean=chance, spread=None) for key in tested}
    accuracy, fitted = (
        next((found[item.key] for item in properties if item.role == role and item.key in found), None)
        for role in ("accuracy", "fitted")
    )
    return Row(
        name=", ".join(filter(None, [approach, added])),
        method=method,
        safeguard=safeguard,
        level=next((str(level) for level in runs["level"] if level not in ("", "none")), ""),
        runs=len(runs),
        outcomes=_outcomes(runs),
        masked=int(repaired["gradient_masking"].sum()),
        unchanged=int((~repaired["changed"]).sum()),
        figures=found,
        # A safeguard changes the result, so the figures of the bare approach do not belong beside it.
        published=published(method, str(first["dataset_option"])) if safeguard == "none" else None,
        not_applicable=_not_applicable(repaired),
        repair=repair,
        settings=" ".join(filter(None, [_settings(approach, method, safeguard), added])),
        seeds=tuple(sorted(runs["seed"], key=natural)),
        verdict=ranking.verdict(accuracy),
        p_value=chance,
        fitted=None if fitted is None else fitted.mean,
    )


def _settings(approach: str, method: str, safeguard: str) -> str:
    """The settings in the name of an approach."""
    left = approach.removeprefix(method).replace(f" + {safeguard}", "", 1)
    return left.strip()


def _faulty(runs: pd.DataFrame, properties: Sequence[Property]) -> Row:
    """The faulty model as it was measured alone, else as the approaches' runs saw it."""
    alone = runs[runs["method"] == FAULTY]
    return Row(
        name="faulty model",
        method=FAULTY,
        safeguard="none",
        level="",
        runs=runs["subject_seed"].nunique(),
        outcomes=(),
        masked=0,
        unchanged=0,
        figures={item.key: own for item in properties if (own := figures.faulty(runs, item, FAULTY)) is not None},
        not_applicable=_not_applicable(runs if alone.empty else alone),
    )


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
    """Mark the figure that leads each column clearly.

    An approach that changed nothing cannot win by breaking nothing, nor one with masked gradients by what they flatter.
    """
    marked = list(rows)
    for item in properties:
        rivals = {
            index: row.figures[item.key]
            for index, row in enumerate(rows)
            if item.key in row.figures and row.unchanged < row.repaired and not (item.maskable and row.masked)
        }
        if (index := ranking.best(rivals, item)) is not None:
            own = {item.key: replace(rivals[index], best=True)}
            marked[index] = replace(marked[index], figures={**marked[index].figures, **own})
    return tuple(marked)
