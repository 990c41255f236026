"""Reading a sqlite database without making or changing anything."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from urllib.parse import quote

BUSY_SECONDS = 20
"""How long to wait for another process's write; MLflow's own value."""


def file_uri(database: Path) -> str:
    """The URI of a database file, whatever characters its path has; parameters such as `?mode=ro` may follow."""
    return f"file:{quote(str(database.resolve()))}"


@contextmanager
def readable(database: Path) -> Iterator[sqlite3.Connection]:
    """A read-only connection; raises sqlite3.OperationalError where there is no such file."""
    with closing(sqlite3.connect(f"{file_uri(database)}?mode=ro", uri=True, timeout=BUSY_SECONDS)) as connection:
        yield connection
