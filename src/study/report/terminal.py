"""The comparison in a terminal: one table per subject."""

from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from study.report import formats
from study.report.comparison import Comparison, Figure, Row, Subject
from study.report.properties import Property


def show(comparison: Comparison, console: Console) -> None:
    """Print every subject's table, what could not be repaired and why, and how to read the marks."""
    columns = [item for item in comparison.properties if item.summary]
    for subject in comparison.subjects:
        console.print(_table(subject, columns))
        for row in subject.rows:
            _print_outcomes(row, console)
        console.print()
    console.print(
        "[dim]Mean ± standard deviation over seeds (n); then the gain over the faulty model, + is better; "
        "then the published figure. [bold green]*[/] best of the column.[/]"
    )
    flattered = escape(formats.flattered(comparison.properties))
    if flattered and any(row.masked for subject in comparison.subjects for row in subject.rows):
        console.print(
            f"[yellow]‡[/] [dim]gradient masking: outputs saturate, which flatters {flattered}; "
            "trust the attacks without this mark[/]"
        )
    for item, reason in comparison.not_applicable:
        console.print(formats.not_applicable(item, reason), markup=False, style="dim")
    if comparison.left_out:
        console.print(f"[dim]{formats.left_out(comparison.left_out)}[/]")


def _table(subject: Subject, columns: list[Property]) -> Table:
    table = Table(title=escape(subject.name), title_justify="left", title_style="bold", show_lines=True)
    table.add_column("approach")
    for item in columns:
        table.add_column(Text(formats.heading(item)), justify="right")
    table.add_row(Text("faulty model", style="italic"), *(_cell(subject.faulty, item) for item in columns))
    for row in subject.rows:
        table.add_row(_approach(row), *(_cell(row, item) for item in columns))
    return table


def _approach(row: Row) -> Text:
    text = Text(row.name, style="bold")
    kind = "control" if row.control else row.level
    seeds = f"n={row.repaired}" if row.repaired == row.runs else f"n={row.repaired} of {row.runs}"
    return text.append(f"\n{kind}, {seeds}".replace("\n, ", "\n"), style="not bold dim")


def _cell(row: Row, item: Property) -> Text:
    figure = row.figures.get(item.key)
    text = _number(row, item, figure) if figure else Text(_missing(row, item), style="dim italic")
    if row.published and item.key in row.published.figures:
        text.append(f"\npubl. {formats.value(row.published.figures[item.key], item.unit)}", style="cyan")
    return text


def _missing(row: Row, item: Property) -> str:
    return row.word or (formats.NOT_APPLICABLE if item.key in row.not_applicable else formats.NOTHING)


def _number(row: Row, item: Property, figure: Figure) -> Text:
    text = Text(formats.value(figure.mean, item.unit), style="bold green" if figure.best else "")
    text.append("*" if figure.best else "")
    if row.masked and item.maskable:
        text.append("‡", style="yellow")
    spread = formats.spread(figure, item.unit)
    text.append(f" {spread}" if spread else "", style="not bold dim")
    if figure.n != row.repaired and row.repaired:
        text.append(f" (n={figure.n})", style="not bold dim")
    if figure.gain is not None:
        text.append(f"\n{formats.gain(figure.gain)}", style="not bold green" if figure.gain >= 0 else "not bold red")
    return text


def _print_outcomes(row: Row, console: Console) -> None:
    for outcome in row.outcomes:
        if outcome.word != "repaired":
            reasons = f": {'; '.join(outcome.reasons)}" if outcome.reasons else ""
            console.print(f"  {row.name}: {outcome.word} {outcome.n} of {row.runs}{reasons}", markup=False, style="dim")
