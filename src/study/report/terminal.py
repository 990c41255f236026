"""The comparison in a terminal: per subject one table, or several where the columns do not fit beside one another."""

from collections.abc import Iterator, Sequence

from rich.console import Console
from rich.markup import escape
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from study.report import formats
from study.report.comparison import Comparison, Row, Subject
from study.report.figures import Figure
from study.report.properties import Property

APPROACH_WIDTH, NARROW = 32, 20
"""Largest width of the first column, and where the columns do not fit beside one another."""
COLOURS = {True: "not bold green", False: "not bold red", None: "not bold dim"}


def show(comparison: Comparison, console: Console) -> None:
    """Print every subject's table, what could not be repaired and why, and how to read the marks."""
    columns = [item for item in comparison.properties if item.summary]
    for subject in comparison.subjects:
        console.print(Text(subject.name, style="bold"))
        for table in _tables(subject, subject.known(columns), console):
            console.print(table)
        for row in subject.rows:
            _print_outcomes(row, console)
        for sentence in formats.cautions(subject, comparison.properties):
            console.print(sentence, markup=False, highlight=False, style="yellow")
        console.print()
    _print_legend(comparison, console)


def _tables(subject: Subject, columns: list[Property], console: Console) -> Iterator[Table]:
    """One table if it fits; else several, each with as many columns as fit."""
    whole = _table(subject, columns)
    if _width(whole, console) <= console.width:
        yield whole
        return
    start = 0
    while start < len(columns):
        parts = [_table(subject, columns[start:end], narrow=True, further=start > 0)
                 for end in range(start + 1, len(columns) + 1)]  # fmt: skip
        fitting = max(1, sum(_width(part, console) <= console.width for part in parts))
        yield parts[fitting - 1]
        start += fitting


def _width(table: Table, console: Console) -> int:
    return Measurement.get(console, console.options.update(width=10_000), table).maximum


def _table(subject: Subject, columns: Sequence[Property], *, narrow: bool = False, further: bool = False) -> Table:
    table = Table(show_lines=True)
    table.add_column("approach", max_width=NARROW if narrow else APPROACH_WIDTH, overflow="fold")
    for item in columns:
        heading = formats.heading(item)
        # The unit on a line of its own: the numbers are narrower than the names.
        table.add_column(Text("\n".join(heading.rsplit(" ", 1)) if narrow else heading), justify="right")
    for row in (subject.faulty, *subject.rows):
        table.add_row(_approach(row, further=further), *(_cell(row, item) for item in columns))
    return table


def _approach(row: Row, *, further: bool) -> Text:
    """Name, level and number of seeds; verdict and published outcome unless an earlier table has told them."""
    if not row.outcomes:
        return Text(row.name, style="italic")
    text = Text(row.name, style="bold")
    seeds = f"n={row.repaired}" if row.repaired == row.runs else f"n={row.repaired} of {row.runs}"
    kind = "control" if row.control else row.level
    text.append(f"\n{', '.join(filter(None, [kind, seeds]))}", style="not bold dim")
    if row.verdict and not further:
        text.append(f"\n{row.verdict}", style="not bold red")
    if row.published_word and not further:
        text.append(f"\npubl. {row.published_word}", style="not bold cyan")
    return text


def _cell(row: Row, item: Property) -> Text:
    figure = row.figures.get(item.key)
    text = _number(row, item, figure) if figure else Text(_missing(row, item), style="dim italic")
    if row.published and item.key in row.published.figures:
        text.append(f"\npubl. {formats.value(row.published.figures[item.key], item.unit)}", style="cyan")
        if figure and figure.gain is not None and item.key in row.published.gains:
            told = formats.gain(row.published.gains[item.key])
            text.append(f"\ngain {formats.gain(figure.gain)}", style="not bold").append(f"\npubl. {told}", style="cyan")
    return text


def _missing(row: Row, item: Property) -> str:
    return row.word or (formats.NOT_APPLICABLE if item.key in row.not_applicable else formats.NOTHING)


def _number(row: Row, item: Property, figure: Figure) -> Text:
    text = Text(formats.value(figure.mean, item.unit), style="bold green" if figure.best else "")
    text.append("*" if figure.best else "")
    text.append(formats.DOUBTFUL if formats.doubtful(row, item) else "", style="yellow")
    if row.masked and item.maskable:
        text.append("‡", style="yellow")
    spread = formats.spread(figure, item.unit)
    text.append(f" {spread}" if spread else "", style="not bold dim")
    if figure.n != row.repaired and row.repaired:
        text.append(f" (n={figure.n})", style="not bold dim")
    if figure.change and (difference := formats.change(figure.change, item.unit)):
        text.append(f"\n{difference}", style=COLOURS[formats.improves(figure.change, item)])
    if told := formats.fitted(row, item):
        text.append(f"\n{told}", style="not bold dim")
    return text


def _print_outcomes(row: Row, console: Console) -> None:
    for outcome in row.outcomes:
        if outcome.word != "repaired":
            reasons = f": {'; '.join(outcome.reasons)}" if outcome.reasons else ""
            console.print(f"  {row.name}: {outcome.word} {outcome.n} of {row.runs}{reasons}", markup=False, style="dim")


def _print_legend(comparison: Comparison, console: Console) -> None:
    rows = [row for subject in comparison.subjects for row in subject.rows]
    beside = "; then the published figure, and the gain relative to the faulty model beside the published gain"
    console.print(
        "[dim]Mean ± standard deviation over seeds (n); below it the difference to the faulty model, of rates in "
        f"percentage points{beside if any(row.published for row in rows) else ''}.[/]"
    )
    mark = "[bold green]*[/] " if formats.starred(comparison.subjects) else ""
    console.print(f"{mark}[dim]{formats.star(comparison.subjects)}[/]")
    if doubt := formats.doubt(comparison.subjects):
        console.print(f"[yellow]{formats.DOUBTFUL}[/] [dim]{escape(doubt)}[/]", highlight=False)
    for words in filter(None, (formats.verdicts(comparison.subjects), formats.generalisation(comparison.subjects))):
        console.print(words, markup=False, style="dim")
    flattered = escape(formats.flattered(comparison.properties))
    if flattered and any(row.masked for row in rows):
        console.print(
            f"[yellow]‡[/] [dim]gradient masking: outputs saturate, which flatters {flattered}; "
            "trust the attacks without this mark[/]"
        )
    columns = [(item, reason) for item, reason in comparison.not_applicable if item.summary]
    for sentence in formats.not_applicable(columns):
        console.print(sentence, markup=False, style="dim")
    if comparison.left_out:
        console.print(f"[dim]{formats.left_out(comparison.left_out)}[/]")
