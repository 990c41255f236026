"""Making a local MLflow database so that a kill at any moment leaves the old file, or the new one whole."""

from __future__ import annotations

import contextlib
import logging
import os
import sqlite3
import uuid
from collections.abc import Callable
from contextlib import closing
from itertools import count
from pathlib import Path

from study.storage.files import linked
from study.storage.sqlite import COMPANIONS, file_uri


def make(database: Path, fill: Callable[[str], None] | None = None) -> Path | None:
    """Make a new MLflow database; returns the other name that a file in its place was given, None where there was none.

    MLflow makes its tables in some 60 steps, each a commit of its own, so it makes them in a file of another name. That
    file's connections stay open in this process; what is moved into place is a copy, which nobody has open.
    Whoever calls this holds the store's lock.

    Args:
        fill: Writes into the new database, whose URI it is given, before it takes its place.
    """
    folder = database.parent
    folder.mkdir(parents=True, exist_ok=True)
    _remove_remains(database)  # nobody is making one now: we hold the lock
    name = f".{database.name}.{uuid.uuid4().hex[:12]}"
    made, copy = folder / name, folder / f"{name}.copy"
    try:
        make_tables(f"sqlite:///{made}")
        if fill is not None:
            fill(f"sqlite:///{made}")
        with closing(sqlite3.connect(f"{file_uri(made)}?mode=ro", uri=True)) as connection:
            connection.execute("VACUUM INTO ?", (str(copy),))
        _sync(copy)
        aside = set_aside(database) if database.exists() and database.stat().st_size else None
        for end in COMPANIONS:  # of the older file: sqlite would undo with them what is new
            _beside(database, end).unlink(missing_ok=True)
        copy.replace(database)
        _sync(folder)
        _close_connections(f"sqlite:///{database}")
        return aside
    finally:
        _remove_remains(database)


def make_tables(uri: str) -> None:
    """Let MLflow make all its tables, which it does when it is first asked for something."""
    from mlflow import MlflowClient

    news = logging.getLogger("mlflow")
    level = news.level
    news.setLevel(logging.WARNING)  # else a line for each migration
    try:
        MlflowClient(uri).search_experiments(max_results=1)
    finally:
        news.setLevel(level)


def _close_connections(uri: str) -> None:
    """Close what MLflow has open of the file that had this name before; MLflow has no public function for that."""
    with contextlib.suppress(AttributeError):
        from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

        if engine := SqlAlchemyStore._engine_map.get(uri):
            engine.dispose()


def set_aside(database: Path) -> Path:
    """Give a database that is of no use a second name, `NAME.damaged-1` or the next free number; its first one stays.

    The first name is then to be given to a new database: a kill between the two leaves the damaged one in its place,
    where the next command finds it again. What sqlite keeps beside it gets the new name as well.
    """
    taken = (database.with_name(f"{database.name}.damaged-{number}") for number in count(1))
    aside = next(path for path in taken if not path.exists())
    for end in COMPANIONS:
        with contextlib.suppress(FileNotFoundError):
            linked(_beside(database, end), _beside(aside, end))
    linked(database, aside)
    return aside


def _remove_remains(database: Path) -> None:
    for remains in database.parent.glob(f".{database.name}.*"):
        remains.unlink(missing_ok=True)


def _beside(database: Path, end: str) -> Path:
    return database.with_name(database.name + end)


def _sync(path: Path) -> None:
    """Have the system write a file or a folder's names to disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
