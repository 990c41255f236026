"""`python -m study.report`: print the comparison and write it as CSV and as one web page."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from study.errors import UsageError
from study.report.runs import local_store
from study.report.selection import Filters
from study.report.writing import write
from study.storage import paths
from study.storage.space import full_disk

PIPE_WIDTH = 200
"""Columns of text where the output is no terminal: wide enough that no figure is folded."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit code 0; after one sentence on stderr 2 if something is wrong with the request, 1 if the disk is full."""
    options = _parser().parse_args(arguments)
    filters = Filters(sweep=options.sweep, dataset=options.dataset, method=options.method)
    console = Console(width=None if sys.stdout.isatty() else PIPE_WIDTH)
    try:
        page = write(
            options.tracking_uri or local_store(),
            options.experiment,
            options.output or paths.multirun() / "report",
            filters=filters,
            console=console,
        )
    except UsageError as refusal:
        print(f"study.report: {refusal}", file=sys.stderr)
        return 2
    except OSError as error:
        if not (sentence := full_disk(error)):
            raise
        print(f"study.report: {sentence}", file=sys.stderr)
        return 1
    print(f"Report: {page}")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m study.report",
        description="Compare the tracked runs: a table here, comparison.csv and report.html in the output folder.",
        epilog="HOME is $STUDY_HOME or the current folder. Example: "
        "python -m study.report --dataset mnist --method arachne,full/joint,finetune",
    )
    parser.add_argument("--sweep", type=_names, metavar="TAG,...", default=(), help="only runs of these sweeps")
    parser.add_argument("--dataset", type=_names, metavar="NAME,...", default=(), help="only these data sets")
    parser.add_argument("--method", type=_names, metavar="NAME,...", default=(), help="only these approaches")
    parser.add_argument("--output", type=Path, metavar="FOLDER", help="where to write (default: HOME/multirun/report)")
    parser.add_argument("--tracking-uri", metavar="URI", help="MLflow store (default: HOME/mlruns/mlflow.db)")
    parser.add_argument("--experiment", metavar="NAME", default="study", help="MLflow experiment (default: study)")
    return parser


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",") if name.strip())


if __name__ == "__main__":
    sys.exit(main())
