"""A database that is of no use set aside, and made anew from the result files."""

from __future__ import annotations

import logging
from pathlib import Path

from study.errors import UsageError
from study.storage import paths
from study.tracking.condition import Condition
from study.tracking.folders import Found, jobs, newest
from study.tracking.making import make
from study.tracking.result import Result
from study.tracking.writer import Writer

log = logging.getLogger(__name__)


def rebuild(database: Path, artifacts: Path, condition: Condition) -> None:
    """Put a new database in place of one that is of no use, which keeps its content under another name.

    The new one holds all results of the home whose store it is. Whoever calls this holds the store's lock; a kill
    leaves the damaged database in place, and the next command begins again.
    """
    from mlflow import MlflowClient

    recorded = 0

    def fill(uri: str) -> None:
        nonlocal recorded
        recorded = _fill(Writer(MlflowClient(uri), artifacts))

    aside = make(database, fill if is_of_home(database) else None)
    kept = f" as {aside.name}" if aside else ""
    log.warning("%s; it is set aside%s, a new one holds %d results", condition.sentence, kept, recorded)


def is_of_home(database: Path) -> bool:
    """Whether a database is the home's own, which holds nothing but what the home's result files say."""
    return database == (paths.mlruns() / "mlflow.db").resolve()


def _fill(writer: Writer) -> int:
    """Write every result of the home, each once; returns how many."""
    results = []
    for folder in jobs([paths.multirun()]):
        try:
            results.append(Found.of(folder))
        except FileNotFoundError:
            continue
        except UsageError as damage:
            log.warning("%s", damage)
    chosen = newest(results)
    for found in results:
        if found.folder in chosen:
            writer.write(Result.read(found.folder), found.folder, found.experiment, force=True)
    return len(chosen)
