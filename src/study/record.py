"""`python -m study.record`: bring the result files of finished jobs into the MLflow store, each once."""

import argparse
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path

from study.errors import NotRecorded, UsageError
from study.storage import paths
from study.tracking.folders import Found, jobs, newest
from study.tracking.result import RESULT
from study.tracking.store import Store
from study.tracking.unfinished import Unfinished

STATES = {
    "still running": "still running",
    "cut off": "cut off; the command that started them goes on from there",
    "finished before": "not run again, since an equal job was finished before",
}
"""What became of jobs without a result, as it is told."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit code 0; 1 where a result could not be recorded; 2 where the request was wrong."""
    options = _parser().parse_args(arguments)
    folders = options.folders or [paths.multirun()]
    try:
        counts = record(folders, options.tracking_uri, options.experiment)
    except UsageError as refusal:
        print(f"study.record: {refusal}", file=sys.stderr)
        return 2
    older = f"{counts['older']} older than an equal one, " if counts["older"] else ""
    print(
        f"{counts['recorded']} recorded, {counts['known']} already there, {older}"
        f"{counts['unfinished']} unfinished (no result.json), {counts['failed']} damaged or refused"
    )
    tell_unfinished(unfinished(folders), remove=options.remove_unfinished)
    return 1 if counts["failed"] else 0


def record(folders: Sequence[Path], uri: str = "auto", experiment: str | None = None) -> Counter[str]:
    """Record every job under `folders` that the store lacks; a moved or damaged store is put right first.

    Of equal jobs, which share a key, the one that started last is recorded.

    Args:
        folders: Searched at every depth for job folders.
        uri: As `tracking.uri`.
        experiment: Name of the MLflow experiment; None: the one that each result names.

    Returns:
        How many jobs were `recorded`, `known` already, `older` than an equal one, `unfinished`, or `failed` (a line on
        stderr for each).

    Raises:
        UsageError: A folder is missing, or the store cannot be used.
    """
    for folder in folders:
        if not folder.is_dir():
            raise UsageError(f"{folder}: there is no such folder to take results from")

    @cache
    def known_to(name: str) -> "_Known":
        return _Known(_opened(uri, name))

    known_to(experiment or "study")  # refuses an unusable store even where nothing is found
    counts: Counter[str] = Counter(unfinished=sum(one.state != "finished before" for one in unfinished(folders)))
    results = [replace(found, experiment=experiment or found.experiment) for found in _results(folders, counts)]
    chosen = newest(results)
    for found in results:
        try:
            counts[known_to(found.experiment).bring(found, newest=found.folder in chosen)] += 1
        except (UsageError, NotRecorded) as refusal:
            print(refusal, file=sys.stderr)
            counts["failed"] += 1
    return counts


class _Known:
    """A store with what it held at the beginning."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.recorded, self.doubled = store.recorded(), store.doubled()
        self.latest: dict[str, int] = {}
        for key, started in self.recorded:
            self.latest[key] = max(started, self.latest.get(key, started))

    def bring(self, found: Found, *, newest: bool) -> str:
        """Record a result if the store lacks it and no newer equal one; returns as what it counts."""
        known = (found.key, found.started) in self.recorded
        stands = newest and self.latest.get(found.key, found.started) <= found.started
        if newest and (found.key in self.doubled or (stands and not known)):
            self.store.write(found.folder, force=True)
        if not stands:
            return "older"
        return "known" if known else "recorded"


def _opened(uri: str, experiment: str) -> Store:
    store = Store(uri=uri, experiment=experiment)
    store.mend()
    if store.relocate():
        print(f"{store.uri} had been moved: its artifacts are now looked for in {store.artifacts}")
    store.check()
    return store


def _results(folders: Sequence[Path], counts: Counter[str]) -> list[Found]:
    """The results under the folders; damaged ones are counted and told."""
    found = []
    for folder in jobs(folders):
        if (folder / RESULT).is_file():
            try:
                found.append(Found.of(folder))
            except UsageError as damage:
                print(damage, file=sys.stderr)
                counts["failed"] += 1
    return found


def unfinished(folders: Sequence[Path]) -> list[Unfinished]:
    """The jobs under `folders` that left no result."""
    return [Unfinished.of(folder) for folder in jobs(folders) if not (folder / RESULT).is_file()]


def tell_unfinished(found: Sequence[Unfinished], *, remove: bool) -> None:
    """Print which jobs left no result and why, and remove the folders of those that do not run if that is wanted."""
    for state, meaning in STATES.items():
        group = [one for one in found if one.state == state]
        if group:
            print(f"{len(group)} {meaning}:")
        for one in group:
            removed = remove and one.removable
            if removed:
                one.remove()
            print(f"  {one.folder}{f'  {one.overrides}' if one.overrides else ''}{'  (removed)' if removed else ''}")
    if any(one.removable for one in found) and not remove:
        print("--remove-unfinished removes the folders of those that do not run.")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m study.record",
        description="Write the results of finished jobs into the MLflow store, each once: after the store was lost, "
        "damaged or moved, or after jobs ran where no store could be reached.",
        epilog="HOME is $STUDY_HOME or the current folder.",
    )
    parser.add_argument("folders", nargs="*", type=Path, metavar="FOLDER", help="default: HOME/multirun")
    parser.add_argument("--tracking-uri", metavar="URI", default="auto", help="default: the store in HOME/mlruns")
    parser.add_argument("--experiment", metavar="NAME", help="MLflow experiment (default: the one each result names)")
    parser.add_argument(
        "--remove-unfinished", action="store_true", help="remove the folders of jobs that left no result and do not run"
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
