"""In what condition a local MLflow database is, found out without importing MLflow, which takes a second."""

from __future__ import annotations

import importlib.util
import re
import sqlite3
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal

from study.errors import UsageError
from study.storage.sqlite import readable

State = Literal["missing", "whole", "half made", "unreadable", "of another version", "foreign"]
REVISION = re.compile(r'^(down_)?revision = "?(\w+)"?', re.MULTILINE)
"""A line of one of MLflow's migrations: the version it leads to, or the one it starts from."""
OURS = {"experiments", "_alembic_tmp_experiments"}
"""MLflow's first table, and what it is called while a migration makes it anew."""


@dataclass(frozen=True)
class Condition:
    """state: `missing` also of a file without any table; sentence: what is wrong and what to do, else empty."""

    state: State
    sentence: str = ""


def condition_of(database: Path) -> Condition:
    """Look at tables and schema version; what a killed writer left half done is rolled back first.

    MLflow makes its tables in some 60 steps and gives the version it has come to: a database without experiments and
    runs whose version is not the last one was never finished, whereas one that holds any is of another MLflow.

    Raises:
        UsageError: The file cannot be opened at all, or somebody keeps it locked.
    """
    if not database.exists() or database.stat().st_size == 0:
        return Condition("missing")
    try:
        with readable(database) as connection:
            return _of_tables(database, connection)
    except sqlite3.OperationalError as error:
        raise UsageError(f"{database} cannot be opened: {error}") from error
    except sqlite3.DatabaseError as error:
        return Condition("unreadable", f"{database} is not an MLflow store, or is damaged ({error})")


def _of_tables(database: Path, connection: sqlite3.Connection) -> Condition:
    tables = {str(name) for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    if not tables - {"alembic_version"}:
        return Condition("missing")
    if not tables & OURS:
        return Condition("foreign", f"{database} is not an MLflow store but another program's database: name another")
    found = connection.execute("SELECT version_num FROM alembic_version").fetchall() if _has_version(tables) else []
    version = str(found[0][0]) if found else ""
    if version == newest_version():
        return Condition("whole")
    filled = any(_any_row(connection, table) for table in ("experiments", "runs") if table in tables)
    if not filled and version in {"", *_versions()[0]}:
        return Condition("half made", f"{database} was never finished: its making was cut off")
    return Condition("of another version", _other_version(database, version))


def newest_version() -> str:
    """Of the schema that the installed MLflow writes."""
    versions, started_from = _versions()
    return next(iter(versions - started_from))


def _other_version(database: Path, version: str) -> str:
    moved = "move the file away and run `python -m study.record`, which makes it anew from the result files"
    if version and version not in _versions()[0]:
        return f"{database} was written by a newer MLflow (schema {version}): install that one, or {moved}"
    return (
        f"{database} was written by an older MLflow (schema {version or 'unknown'}): "
        f"run `mlflow db upgrade sqlite:///{database}` on a copy, or {moved}"
    )


@cache
def _versions() -> tuple[frozenset[str], frozenset[str]]:
    """All schema versions that the installed MLflow knows, and those among them that a later one starts from."""
    package = importlib.util.find_spec("mlflow")
    folders = (package.submodule_search_locations or []) if package else []
    known: dict[str, set[str]] = {"": set(), "down_": set()}
    for folder in folders:
        for file in Path(folder).glob("store/db_migrations/versions/*.py"):
            for down, version in REVISION.findall(file.read_text()):
                known[down].add(version)
    return frozenset(known[""]), frozenset(known["down_"])


def _has_version(tables: set[str]) -> bool:
    return "alembic_version" in tables


def _any_row(connection: sqlite3.Connection, table: str) -> bool:
    return connection.execute(f"SELECT 1 FROM {table} LIMIT 1").fetchone() is not None
