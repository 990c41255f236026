import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from study.storage.sqlite import readable


@pytest.fixture
def database(tmp_path: Path) -> Path:
    path = tmp_path / "50% done? #2" / "a.db"
    path.parent.mkdir()
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("CREATE TABLE numbers (value)")
        connection.execute("INSERT INTO numbers VALUES (3)")
    return path


def test_reads_whatever_characters_the_path_has(database: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(database.parent)
    for path in (database, Path("a.db")):
        with readable(path) as connection:
            assert connection.execute("SELECT value FROM numbers").fetchall() == [(3,)]


def test_writes_nothing(database: Path) -> None:
    before = database.read_bytes()
    with readable(database) as connection, pytest.raises(sqlite3.OperationalError, match="readonly"):
        connection.execute("INSERT INTO numbers VALUES (4)")
    assert database.read_bytes() == before
    assert [path.name for path in database.parent.iterdir()] == ["a.db"]


def test_a_missing_database_is_not_made(tmp_path: Path) -> None:
    with pytest.raises(sqlite3.OperationalError), readable(tmp_path / "absent.db"):
        pass
    assert list(tmp_path.iterdir()) == []
