"""The comparison as one web page that needs nothing but itself."""

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from jinja2 import Environment, PackageLoader, StrictUndefined

from study.report import formats, heat
from study.report.comparison import LEVELS, Comparison, Row, Subject
from study.report.figures import Figure
from study.report.properties import Property
from study.report.published import CITATION, LINK
from study.report.tradeoff import plot


@dataclass(frozen=True)
class Cell:
    """One number of the table as it is written; `sort` is the plain number, empty where there is none.

    `sized` numbers carry a unit each, so their spread goes on a line of its own; `change` is the difference to the
    faulty model and `better` says whether it is for the better, `doubtful` whether it cannot be told from none, `gain`
    the relative one beside a published one; `interval` is over test inputs; a `further` column is shown on request.
    """

    text: str
    sort: str = ""
    spread: str = ""
    change: str = ""
    better: bool | None = None
    gain: str = ""
    sized: bool = False
    shade: str = ""
    best: bool = False
    masked: bool = False
    doubtful: bool = False
    fitted: str = ""
    interval: str = ""
    n: int | None = None
    published: str = ""
    published_gain: str = ""
    hint: str = ""
    further: bool = False


def html(comparison: Comparison, safeguards: Mapping[str, bytes] = {}) -> str:
    """The page as text; safeguards: a picture (PNG) of each subject that has one, by its name."""
    environment = Environment(
        loader=PackageLoader("study.report", "template"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    flattered = formats.flattered(comparison.properties)
    rows = [row for subject in comparison.subjects for row in subject.rows]
    return environment.get_template("page.html").render(
        comparison=comparison,
        cells={subject.name: _cells(subject, comparison.properties) for subject in comparison.subjects},
        plots=[drawn for subject in comparison.subjects if (drawn := plot(subject, comparison.properties))],
        safeguards={name: base64.b64encode(content).decode() for name, content in safeguards.items()},
        levels=[level for level in LEVELS if any(row.level == level for row in rows)],
        heading=formats.heading,
        star=formats.star(comparison.subjects),
        starred=formats.starred(comparison.subjects),
        verdicts=formats.verdicts(comparison.subjects),
        cautions={subject.name: formats.cautions(subject, comparison.properties) for subject in comparison.subjects},
        masked=bool(flattered) and any(row.masked for row in rows),
        not_applicable=formats.not_applicable(comparison.not_applicable),
        doubtful=formats.DOUBTFUL,
        doubt=formats.doubt(comparison.subjects),
        generalisation=formats.generalisation(comparison.subjects),
        further=any(not item.summary for item in comparison.properties),
        with_intervals=any(figure.interval for row in rows for figure in row.figures.values()),
        flattered=flattered,
        unchanged=any(row.unchanged for row in rows),
        with_published=any(row.published for row in rows),
        left_out=formats.left_out(comparison.left_out) if comparison.left_out else "",
        citation=CITATION,
        link=LINK,
        written=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
    )


def _cells(subject: Subject, properties: tuple[Property, ...]) -> Mapping[str, list[Cell]]:
    """The cells of each row, by the row's name."""
    colours = {item.key: heat.shades(subject.rows, item) for item in properties}
    return {
        row.name: [_cell(row, item, colours[item.key].get(row.name, "")) for item in subject.known(properties)]
        for row in (subject.faulty, *subject.rows)
    }


def _cell(row: Row, item: Property, shade: str) -> Cell:
    figure = row.figures.get(item.key)
    published, published_gain = _published(row, item)
    if figure is None:
        text, hint = _missing(row, item)
        return Cell(
            text,
            hint=hint,
            published=published,
            published_gain=published_gain,
            further=not item.summary,
        )
    return Cell(
        text=formats.value(figure.mean, item.unit),
        sort=repr(figure.mean),
        spread=formats.spread(figure, item.unit),
        change="" if figure.change is None else formats.change(figure.change, item.unit),
        better=None if figure.change is None else formats.improves(figure.change, item),
        gain=formats.gain(figure.gain) if published_gain and figure.gain is not None else "",
        sized=item.unit in ("seconds", "MiB"),
        shade=shade,
        best=figure.best,
        masked=bool(row.masked) and item.maskable,
        doubtful=formats.doubtful(row, item),
        fitted=formats.fitted(row, item),
        interval=formats.interval(figure, item.unit),
        n=_fewer(row, figure),
        published=published,
        published_gain=published_gain,
        further=not item.summary,
        hint="\n".join(filter(None, [figure.protocol, _p_value(row, item)])),
    )


def _p_value(row: Row, item: Property) -> str:
    if item.role != "accuracy" or row.p_value is None:
        return ""
    return f"McNemar test of the change: p = {row.p_value:.2g}"


def _missing(row: Row, item: Property) -> tuple[str, str]:
    """What stands in place of a number, and why."""
    if row.word:
        return row.word, "; ".join(reason for outcome in row.outcomes for reason in outcome.reasons)
    if item.key in row.not_applicable:
        return formats.NOT_APPLICABLE, f"not applicable: {row.not_applicable[item.key]}"
    return formats.NOTHING, "not measured"


def _fewer(row: Row, figure: Figure) -> int | None:
    """Number of seeds behind a figure, where it is not that of the row."""
    return figure.n if row.repaired and figure.n != row.repaired else None


def _published(row: Row, item: Property) -> tuple[str, str]:
    if row.published is None or item.key not in row.published.figures:
        return "", ""
    text = formats.value(row.published.figures[item.key], item.unit)
    gain = row.published.gains.get(item.key)
    return text, "" if gain is None else formats.gain(gain)
