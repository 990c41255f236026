"""Numbers as a reader sees them: rates in percent, times and memory in the unit that suits them."""

import math
from collections.abc import Sequence

from study.report.comparison import Row, Subject
from study.report.figures import Change, Figure
from study.report.properties import Property, Unit
from study.report.ranking import SIGNIFICANT

NOTHING, NOT_APPLICABLE = "\N{EN DASH}", "n/a"
DOUBTFUL = "\N{ALMOST EQUAL TO}"
"""Beside an accuracy that cannot be told from the faulty model's."""


def value(number: float, unit: Unit) -> str:
    """A number with its unit; percent carries none, since the column's heading says so."""
    match unit:
        case "rate":
            return f"{100 * number:.2f}"
        case "seconds":
            return duration(number)
        case "MiB":
            return f"{number:.0f} MiB" if number < 1000 else f"{number / 1024:.1f} GiB"
        case "count":
            return f"{number:,.0f}"
        case "number":
            return f"{number:.4g}"


def duration(seconds: float) -> str:
    """0.42 s, 13.2 s, 4 min 12 s, 13 h 46 min."""
    if seconds < 9.95:
        return f"{seconds:.2f} s"
    if seconds < 59.5:
        return f"{seconds:.1f} s" if seconds < 20 else f"{seconds:.0f} s"
    whole = math.floor(seconds + 0.5)
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    minutes = math.floor(seconds / 60 + 0.5)
    return f"{minutes // 60} h {minutes % 60} min"


def gain(fraction: float) -> str:
    """A relative gain in percent with its sign; zero has none."""
    return f"{_signed(100 * fraction)} %"


def change(difference: Change, unit: Unit) -> str:
    """After minus before: of rates in percentage points, of other units relative to before (empty where that is 0)."""
    if unit == "rate":
        return _signed(100 * difference.mean)
    return "" if difference.relative is None else f"{_signed(100 * difference.relative)} %"


def improves(difference: Change, item: Property) -> bool | None:
    """Whether a change is for the better, None where neither direction is or nothing changed."""
    if item.higher_is_better is None or difference.mean == 0:
        return None
    return (difference.mean > 0) is item.higher_is_better


def _signed(number: float) -> str:
    text = f"{number:+.2f}"
    return (text.lstrip("+-") if float(text) == 0 else text).replace("-", "\N{MINUS SIGN}")


def spread(figure: Figure, unit: Unit) -> str:
    """The standard deviation over seeds, or nothing for a single seed."""
    if figure.spread is None:
        return ""
    if unit == "MiB" and figure.mean >= 1000:
        return f"± {figure.spread / 1024:.1f} GiB"
    if unit == "seconds" and figure.spread < 59.5:
        # As many decimals as the mean has.
        return f"± {figure.spread:.{2 if figure.mean < 9.95 else 1 if figure.mean < 20 else 0}f} s"
    return f"± {value(figure.spread, unit)}"


def interval(figure: Figure, unit: Unit) -> str:
    """The interval over test inputs, or nothing where there is none."""
    if figure.interval is None:
        return ""
    low, high = (value(end, unit) for end in figure.interval)
    return f"95 %: {low} to {high}"


def fitted(row: Row, item: Property) -> str:
    """What was fitted, beside a repair rate, which is what generalises."""
    return "" if item.role != "repaired" or row.fitted is None else f"fitted {value(row.fitted, item.unit)}"


def doubtful(row: Row, item: Property) -> bool:
    """Whether the mark of doubt belongs beside a figure."""
    return item.role == "accuracy" and row.doubtful


def heading(item: Property) -> str:
    """A column's name with its unit and the direction that is better."""
    marks = [mark for mark in ("%" if item.unit == "rate" else "", item.arrow) if mark]
    # No line break between a unit and its arrow.
    return f"{item.label} {chr(160).join(marks)}".strip()


def left_out(number: int) -> str:
    """How many older runs do not count, as a sentence."""
    runs, were = ("run", "was") if number == 1 else ("runs", "were")
    return f"{number} older {runs} of the same jobs {were} left out: the newest finished one counts."


def flattered(properties: Sequence[Property]) -> str:
    """The columns that a masked gradient flatters."""
    labels = [item.label for item in properties if item.maskable]
    return _listed(labels) if labels else ""


def not_applicable(missing: Sequence[tuple[Property, str]]) -> list[str]:
    """Why properties have no column, as a sentence for each reason."""
    labels: dict[str, list[str]] = {}
    for item, reason in missing:
        labels.setdefault(reason, []).append(item.label)
    return [f"{_listed(names)} {'is' if len(names) == 1 else 'are'} not applicable: {reason}."
            for reason, names in labels.items()]  # fmt: skip


def _listed(names: Sequence[str]) -> str:
    return " and ".join(filter(None, [", ".join(names[:-1]), names[-1]]))


def starred(subjects: Sequence[Subject]) -> bool:
    """Whether any figure leads its column clearly."""
    return any(figure.best for subject in subjects for row in subject.rows for figure in row.figures.values())


def star(subjects: Sequence[Subject]) -> str:
    """What the star means, or why there is none."""
    rule = "ahead of every other approach by more than the two standard deviations together, over three or more seeds"
    return f"best of its column: {rule}." if starred(subjects) else f"Nothing is starred: no figure is {rule}."


def verdicts(subjects: Sequence[Subject]) -> str:
    """What the words about accuracy mean, empty where there are none."""
    if not any(row.verdict for subject in subjects for row in subject.rows):
        return ""
    return (
        "Not clearly better: accuracy rises by no more than the standard deviation of its changes over seeds; worse: "
        "it falls by more than that, over three or more seeds; no better: neither."
    )


def doubt(subjects: Sequence[Subject]) -> str:
    """What the mark of doubt means, empty where there is none."""
    if not any(row.doubtful for subject in subjects for row in subject.rows):
        return ""
    return (
        "the change in accuracy is not distinguishable from none: exact McNemar test of the repairs against the "
        f"negative flips, p > {SIGNIFICANT} (counts averaged over repairs of one faulty model, then added)."
    )


def generalisation(subjects: Sequence[Subject]) -> str:
    """What "fitted" means, empty where nothing is."""
    if not any(row.fitted is not None for subject in subjects for row in subject.rows):
        return ""
    return "fitted: the repair rate on the failing inputs that the repair was given, before any safeguard."


def cautions(subject: Subject, properties: Sequence[Property]) -> list[str]:
    """Where the rows of a subject cannot be compared as they stand, as sentences."""
    told = []
    by_seeds: dict[tuple[str, ...], list[Row]] = {}
    for row in subject.rows:
        by_seeds.setdefault(row.seeds, []).append(row)
    if len(by_seeds) > 1:
        most = max(by_seeds, key=lambda seeds: (len(by_seeds[seeds]), len(seeds)))
        others = [
            f"{row.name} has {_seeds(seeds)}" for seeds, rows in by_seeds.items() if seeds != most for row in rows
        ]
        told.append(
            f"Not all rows have the seeds {_seeds(most)}: {'; '.join(others)}. Means over different seeds are not "
            "comparable."
        )
    mixed = [item.label for item in properties if len(_ways(subject, item)) > 1]
    if mixed:
        were = "was" if len(mixed) == 1 else "were"
        told.append(
            f"{' and '.join(mixed)} {were} not measured in the same way everywhere: only rows alike are compared."
        )
    return told


def _ways(subject: Subject, item: Property) -> frozenset[str]:
    """In how many ways the rows measured a property."""
    return frozenset[str]().union(*(row.figures[item.key].ways for row in subject.rows if item.key in row.figures))


def _seeds(seeds: tuple[str, ...]) -> str:
    """0, 1, 2 or, where more than three follow each other, 0 to 9."""
    numbers = [int(seed) for seed in seeds if seed.isdigit()]
    if len(numbers) == len(seeds) > 3 and numbers == list(range(numbers[0], numbers[0] + len(numbers))):
        return f"{numbers[0]} to {numbers[-1]}"
    return ", ".join(seeds)
