"""Reading a sqlite database without making or changing anything but what a killed writer left half done."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from urllib.parse import quote

BUSY_SECONDS = 20
"""How long to wait for another process's write; MLflow's own value."""
COMPANIONS = ("-journal", "-wal", "-shm")
"""Ends of the names of the files that sqlite keeps beside a database, and that belong to that database alone."""


def file_uri(database: Path) -> str:
    """The URI of a database file, whatever characters its path has; parameters such as `?mode=ro` may follow."""
    return f"file:{quote(str(database.resolve()))}"


@contextmanager
def readable(database: Path) -> Iterator[sqlite3.Connection]:
    """A read-only connection; raises sqlite3.OperationalError where there is no such file.

    A writer that was killed inside a commit left a journal, which a read-only connection cannot roll back and
    therefore refuses to read past: it is rolled back first. Sqlite's own locks keep that off a writer that still lives.
    """
    if database.with_name(database.name + COMPANIONS[0]).exists():
        with _connection(database, "rw") as connection:
            connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    with _connection(database, "ro") as connection:
        yield connection


@contextmanager
def _connection(database: Path, mode: str) -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(f"{file_uri(database)}?mode={mode}", uri=True, timeout=BUSY_SECONDS)) as connection:
        yield connection
