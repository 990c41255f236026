"""`python -m study.frontier`: from stored repairs, how much each approach repairs at how many negative flips."""

from __future__ import annotations

import argparse
import io
import math
import sys
from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path

from rich.console import Console

from study.errors import UsageError
from study.frontier import drawing
from study.frontier.repairs import Row, rows_of, stored_repairs
from study.runtime.progress import log_lines
from study.storage import paths
from study.storage.files import plain_name, write_output
from study.storage.space import full_disk

PIPE_WIDTH = 200
"""Columns of text where the output is no terminal."""
CAUTION = (
    "Means over seeds, on the test split, at the share that is best there: it compares approaches. A job with "
    "safeguard=interpolation or safeguard=soft_voting chooses its share on the validation split."
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit code 0; after one sentence on stderr 2 if something is wrong with the request, 1 if the disk is full."""
    options = _parser().parse_args(arguments)
    log_lines(sys.stderr)
    try:
        found = stored_repairs(options.folders or [paths.multirun()], options.dataset, options.method)
        rows = sorted(rows_of(found, options.trust), key=lambda row: row.subject)
        if not rows:
            raise UsageError("none of the stored repairs could be read")
        files = write(rows, options.nfr_max, options.output or paths.multirun() / "report")
    except UsageError as refusal:
        print(f"study.frontier: {refusal}", file=sys.stderr)
        return 2
    except OSError as error:
        if not (sentence := full_disk(error)):
            raise
        print(f"study.frontier: {sentence}", file=sys.stderr)
        return 1
    show(rows, options.nfr_max)  # after the files: whoever reads it may stop reading
    print(CAUTION)
    print("\n".join(f"Frontier: {file}" for file in files))
    return 0


def write(rows: Sequence[Row], limit: float, output: Path) -> list[Path]:
    """Write a picture of each subject and all points into `output`; returns the files.

    rows: sorted by subject.
    """
    contents: dict[str, str | bytes] = {"frontier.csv": drawing.written(rows)}
    for subject, its in _by_subject(rows):
        contents[f"frontier_{plain_name(subject)}.png"] = _png(its, limit)
    write_output(output, contents)
    return [output / name for name in contents]


def show(rows: Sequence[Row], limit: float) -> None:
    """Print a table and an answer for each subject; rows: sorted by subject."""
    console = Console(width=None if sys.stdout.isatty() else PIPE_WIDTH)
    for subject, its in _by_subject(rows):
        console.print(subject, style="bold", highlight=False, markup=False)
        console.print(drawing.table(its, limit))
        console.print(drawing.answer(its, limit), highlight=False, markup=False)


def _by_subject(rows: Sequence[Row]) -> Iterator[tuple[str, list[Row]]]:
    return ((subject, list(group)) for subject, group in groupby(rows, key=lambda row: row.subject))


def _png(rows: Sequence[Row], limit: float) -> bytes:
    buffer = io.BytesIO()
    drawing.figure(rows, limit).savefig(buffer, format="png", dpi=110)
    return buffer.getvalue()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m study.frontier",
        description="How much each stored repair repairs at how many negative flips, on the way from the faulty model "
        "to the repaired one: by weights between the two, and by a vote of the two. Nothing is trained.",
        epilog="HOME is $STUDY_HOME or the current folder. Example: "
        "python -m study.frontier --dataset mnist --method arachne,joint,finetune",
    )
    parser.add_argument("folders", nargs="*", type=Path, metavar="FOLDER", help="of jobs (default: HOME/multirun)")
    parser.add_argument("--dataset", type=_names, metavar="NAME,...", default=(), help="only these data sets")
    parser.add_argument("--method", type=_names, metavar="NAME,...", default=(), help="only these approaches")
    parser.add_argument(
        "--nfr-max", type=_rate, metavar="RATE", default=0.002, help="rate of negative flips to compare at (0.002)"
    )
    parser.add_argument("--output", type=Path, metavar="FOLDER", help="where to write (default: HOME/multirun/report)")
    parser.add_argument(
        "--trust", type=_names, metavar="NAME,...", default=(), help="packages or names that a stored model may call"
    )
    return parser


def _rate(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"{text} is no rate: should be from 0 to 1")
    return value


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",") if name.strip())


if __name__ == "__main__":
    sys.exit(main())
