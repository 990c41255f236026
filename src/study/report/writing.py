"""One report, top to bottom: read the store, choose the runs, compare, write, show."""

from pathlib import Path

from rich.console import Console

from study.report import page, runs, safeguards, table, terminal
from study.report.comparison import compare
from study.report.selection import Filters, newest, select
from study.storage.files import plain_name, write_output


def write(
    tracking_uri: str,
    experiment: str,
    output: Path,
    *,
    filters: Filters | None = None,
    console: Console | None = None,
) -> Path:
    """Write `comparison.csv` and `report.html` into `output`, then print the comparison if a console is given.

    Beside them a picture `safeguards_SUBJECT.png` of each subject that has repairs with several safeguards.

    Returns:
        The path of the page.

    Raises:
        UsageError: The store is missing or holds nothing that the filters ask for, or `output` cannot be written to.
        OSError: The disk is full.
    """
    chosen = select(runs.read(tracking_uri, experiment), filters or Filters())
    current, left_out = newest(chosen)
    comparison = compare(current, left_out)
    drawn = {each.name: safeguards.picture(each, comparison.properties) for each in comparison.subjects}
    pictures = {name: content for name, content in drawn.items() if content is not None}
    files: dict[str, str | bytes] = {
        "comparison.csv": table.csv(comparison),
        "report.html": page.html(comparison, pictures),
        **{f"safeguards_{plain_name(name)}.png": content for name, content in pictures.items()},
    }
    write_output(output, files)
    if console is not None:  # after the files: whoever reads it may stop reading
        terminal.show(comparison, console)
    return output / "report.html"
