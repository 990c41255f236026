"""`python -m benchmarks.subjects`: every subject trained and repaired by four approaches, at a scale for one core.

One faulty model per subject (`subject.seed=0`) and three seeds of each repair; of subjects with few test inputs ten
splits with a faulty model and a repair each. Jobs that are finished are not run again; subjects whose files are missing
are left out. Writes subjects.csv and subjects.md beside this file, and the README's table; of subjects without a
finished job stay the figures that the last benchmark wrote.
"""

from __future__ import annotations

import argparse
import math
import os
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path

import pandas

from benchmarks.markdown import with_lines
from benchmarks.subject_rows import ROWS, SUBJECTS, Subject
from benchmarks.subject_table import HEAD, in_readme, line, markdown
from study.cli.plan import check
from study.config.compose import composed, parsed
from study.config.keys import keys_of
from study.errors import UsageError
from study.storage.files import write_atomically
from study.storage.paths import conf_folder
from study.tracking import ledger
from study.tracking.result import Result

HERE = Path(__file__).parent
README = HERE.parent / "README.md"
TABLE = HERE / "subjects.csv"


def main() -> None:
    """Run the subjects, then store the table."""
    parser = parser_of(__doc__)
    parser.add_argument(
        "--rows", nargs="*", choices=ROWS, default=ROWS, metavar="ROW", help=f"any of: {'; '.join(ROWS)}"
    )
    parser.add_argument("--collect", action="store_true", help="run nothing: the table of what is there")
    options = parser.parse_args()
    os.environ.setdefault("STUDY_HOME", str(HERE / "home"))
    for subject in [] if options.collect else chosen(options):
        for row in (row for row in subject.rows if row in options.rows):
            if subprocess.run([sys.executable, "-m", "study", *command(subject, row)]).returncode:
                print(f"{subject.name}: {row} did not end well", file=sys.stderr)
    frame = stored(TABLE)
    for subject in chosen(options):
        frame = renewed(frame, subject, lines(subject))
    frame = store(frame, TABLE, HEAD, markdown)
    write_atomically(README, with_lines(README.read_text(), "subjects", in_readme(frame)))


def parser_of(description: str | None) -> argparse.ArgumentParser:
    """Of a command that takes some of the subjects or, unless it is told which, all."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    names = [subject.name for subject in SUBJECTS]
    parser.add_argument("--only", nargs="*", choices=names, metavar="SUBJECT", help=f"any of: {', '.join(names)}")
    return parser


def chosen(options: argparse.Namespace) -> list[Subject]:
    """The subjects that the options of a `parser_of` name."""
    return [subject for subject in SUBJECTS if not options.only or subject.name in options.only]


def stored(table: Path) -> pandas.DataFrame:
    """The lines that the last benchmark wrote, none without one."""
    return pandas.read_csv(table) if table.exists() else pandas.DataFrame({"subject": [], "method": []})


def store(
    frame: pandas.DataFrame, table: Path, head: str, markdown: Callable[[pandas.DataFrame], str]
) -> pandas.DataFrame:
    """Write the lines, and beside them a page: head and Markdown of them; gives the lines as rounded there."""
    write_atomically(table, frame.to_csv(index=False, float_format="%.6g"))
    frame = stored(table)  # so that the page, too, follows from the file
    write_atomically(table.with_suffix(".md"), f"{head}\n\n{markdown(frame)}\n")
    return frame


def renewed(frame: pandas.DataFrame, subject: Subject, lines: Iterable[Mapping[str, object]]) -> pandas.DataFrame:
    """All lines in their order, these ones of a subject in place of its former ones of the same approaches."""
    new = pandas.DataFrame(list(lines)).fillna(math.nan).infer_objects()  # a column of None alone is one of numbers
    if new.empty:
        return frame
    former = (frame["subject"] == subject.name) & frame["method"].isin(new["method"])
    order = {"subject": [each.name for each in SUBJECTS], "method": list(ROWS)}
    return pandas.concat([frame[~former], new]).sort_values(
        list(order), key=lambda column: column.map(order[str(column.name)].index), ignore_index=True
    )


def command(subject: Subject, row: str) -> list[str]:
    """What a user would type after `python -m study`; row: of `ROWS`."""
    method = row.partition(",")[0]
    shared = ("subject.seed=0",) if subject.splits == 1 else ()
    passes = subject.views if method == "fsgmix" else subject.epochs
    epochs = () if passes is None or method == "arachne" else (f"method.epochs={passes}",)
    return [
        "--multirun",
        "--config-dir",
        str(HERE / "conf"),
        f"+method={method}",
        f"dataset={subject.dataset}",
        *subject.overrides,
        *epochs,
        *ROWS[row],
        "metric=margin",
        f"metric.attacks.margin_attack_success_rate.samples={subject.attacked}",
        *shared,
        f"seed=range({subject.seeds})",
        "trainer.threads=1",
    ]


def lines(subject: Subject) -> Iterator[dict[str, object]]:
    """A line of the table for each approach whose jobs are finished, of however many seeds."""
    for method, folders in finished(subject).items():
        if folders:
            yield line(subject, method, [Result.read(folder) for folder in folders])


def finished(subject: Subject) -> dict[str, list[Path]]:
    """By approach, the folders of those of a subject's jobs that are finished; none where its files are missing."""
    try:
        jobs = {name: check(composed(parsed(command(subject, name)), conf_folder())) for name in subject.rows}
    except UsageError as reason:
        print(f"{subject.name} is left out: {reason}", file=sys.stderr)
        return {}
    keys = keys_of(job for seeds in jobs.values() for job in seeds)  # of all jobs at once: they share their data
    folders = {name: [ledger.folder_of(next(keys).job) for _ in seeds] for name, seeds in jobs.items()}
    return {name: [folder for folder in found if folder is not None] for name, found in folders.items()}


if __name__ == "__main__":
    main()
