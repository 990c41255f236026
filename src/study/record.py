"""`python -m study.record`: bring the result files of finished jobs into the MLflow store, each once."""

import argparse
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from pathlib import Path

from study.errors import UsageError
from study.storage import paths
from study.tracking.result import ARTIFACTS, RESULT, Result
from study.tracking.run import milliseconds
from study.tracking.store import Store


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit code 0; 1 where a result could not be recorded; 2 where the request was wrong."""
    options = _parser().parse_args(arguments)
    try:
        counts = record(options.folders or [paths.multirun()], options.tracking_uri, options.experiment)
    except UsageError as refusal:
        print(refusal, file=sys.stderr)
        return 2
    print(
        f"{counts['recorded']} recorded, {counts['known']} already there, "
        f"{counts['unfinished']} unfinished (no result.json), {counts['failed']} damaged or refused"
    )
    return 1 if counts["failed"] else 0


def record(folders: Sequence[Path], uri: str = "auto", experiment: str | None = None) -> Counter[str]:
    """Record every job under `folders` that the store lacks; a moved store is put right first.

    Args:
        folders: Searched at every depth for job folders.
        uri: As `tracking.uri`.
        experiment: Name of the MLflow experiment; None: the one that each result names.

    Returns:
        How many jobs were `recorded`, `known` already, `unfinished`, or `failed` (a line on stderr for each).

    Raises:
        UsageError: A folder is missing, or the store cannot be used.
    """
    for folder in folders:
        if not folder.is_dir():
            raise UsageError(f"{folder}: there is no such folder to take results from")

    @cache
    def store_of(name: str) -> tuple[Store, set[tuple[str, int]]]:
        store = Store(uri=uri, experiment=name)
        if store.relocate():
            print(f"{store.uri} had been moved: its artifacts are now looked for in {store.artifacts}")
        store.check()
        return store, store.recorded()

    store_of(experiment or "study")  # refuses an unusable store even where nothing is found
    counts: Counter[str] = Counter()
    for job in sorted(set(_jobs(folders))):
        if not (job / RESULT).is_file():
            counts["unfinished"] += 1
            continue
        try:
            result = Result.read(job)
            store, known = store_of(experiment or result.experiment)
            identity = (result.key, milliseconds(result.started))
            if identity not in known:
                store.write(job, force=True)
                known.add(identity)
                counts["recorded"] += 1
            else:
                counts["known"] += 1
        except UsageError as refusal:
            print(refusal, file=sys.stderr)
            counts["failed"] += 1
    return counts


def _jobs(folders: Iterable[Path]) -> Iterator[Path]:
    """Folders of jobs: those with a result, and those with artifacts or Hydra's notes but no result yet."""
    for folder in folders:
        for name in (RESULT, ARTIFACTS, ".hydra"):
            yield from (found.parent.resolve() for found in folder.rglob(name))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m study.record",
        description="Write the results of finished jobs into the MLflow store, each once: after the store was lost or "
        "moved, or after jobs ran where no store could be reached.",
        epilog="HOME is $STUDY_HOME or the current folder.",
    )
    parser.add_argument("folders", nargs="*", type=Path, metavar="FOLDER", help="default: HOME/multirun")
    parser.add_argument("--tracking-uri", metavar="URI", default="auto", help="default: the store in HOME/mlruns")
    parser.add_argument("--experiment", metavar="NAME", help="MLflow experiment (default: the one each result names)")
    return parser


if __name__ == "__main__":
    sys.exit(main())
