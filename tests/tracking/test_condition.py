"""A database is told from one that was never finished, is damaged, of another MLflow, or not ours at all."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from study.errors import UsageError
from study.tracking.condition import condition_of, newest_version


def changed(database: Path, *statements: str) -> Path:
    with closing(sqlite3.connect(database)) as connection, connection:
        for statement in statements:
            connection.execute(statement)
    return database


def test_what_mlflow_made_is_whole_and_of_the_newest_version(store: Path) -> None:
    assert condition_of(store).state == "whole"
    with closing(sqlite3.connect(store)) as connection:
        assert connection.execute("SELECT version_num FROM alembic_version").fetchall() == [(newest_version(),)]


def test_a_file_without_tables_is_as_good_as_none(tmp_path: Path) -> None:
    assert condition_of(tmp_path / "none.db").state == "missing"
    (tmp_path / "empty.db").touch()
    assert condition_of(tmp_path / "empty.db").state == "missing"
    assert condition_of(changed(tmp_path / "a.db", "CREATE TABLE alembic_version (version_num)")).state == "missing"


@pytest.mark.parametrize(
    "statements",
    [
        ["DROP TABLE alembic_version"],
        ["DELETE FROM alembic_version"],
        ["UPDATE alembic_version SET version_num = '451aebb31d03'"],
        ["UPDATE alembic_version SET version_num = '451aebb31d03'", "DROP TABLE runs", "DROP TABLE tags"],
        ["DROP TABLE alembic_version", "ALTER TABLE experiments RENAME TO _alembic_tmp_experiments"],
    ],
)
def test_one_without_experiments_that_did_not_come_to_the_newest_version_is_half_made(
    store: Path, statements: list[str]
) -> None:
    found = condition_of(changed(store, "DELETE FROM experiments", *statements))
    assert found.state == "half made"
    assert found.sentence == f"{store} was never finished: its making was cut off"


@pytest.mark.parametrize(
    ("version", "advice"),
    [
        ("451aebb31d03", "was written by an older MLflow (schema 451aebb31d03): run `mlflow db upgrade sqlite:///"),
        (
            "fedcba987654",
            "was written by a newer MLflow (schema fedcba987654): install that one, or move the file away",
        ),
    ],
)
def test_one_that_holds_experiments_is_of_another_mlflow(store: Path, version: str, advice: str) -> None:
    found = condition_of(changed(store, f"UPDATE alembic_version SET version_num = '{version}'"))
    assert found.state == "of another version"
    assert advice in found.sentence and "`python -m study.record`" in found.sentence


def test_a_newer_one_is_never_taken_for_half_made(store: Path) -> None:
    newer = changed(store, "DELETE FROM experiments", "UPDATE alembic_version SET version_num = 'fedcba987654'")
    assert condition_of(newer).state == "of another version"


def test_another_programs_database_is_foreign(tmp_path: Path) -> None:
    assert condition_of(changed(tmp_path / "a.db", "CREATE TABLE songs (title)")).state == "foreign"


def test_what_sqlite_cannot_read_is_unreadable(store: Path) -> None:
    store.write_bytes(b"no database, but long enough to be taken for one" * 10)
    assert condition_of(store).state == "unreadable"


def test_a_damaged_page_of_tables_is_unreadable(store: Path) -> None:
    content = bytearray(store.read_bytes())
    content[100:4096] = bytes(3996)
    store.write_bytes(content)
    assert condition_of(store).state == "unreadable"


def test_a_locked_database_is_not_taken_for_a_damaged_one(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("study.storage.sqlite.BUSY_SECONDS", 0.05)
    with closing(sqlite3.connect(store)) as other:
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(UsageError, match="cannot be opened: database is locked"):
            condition_of(store)
    assert condition_of(store).state == "whole"


def test_looking_at_a_database_changes_nothing(store: Path, tmp_path: Path) -> None:
    before = store.read_bytes()
    condition_of(store)
    assert store.read_bytes() == before and list(store.parent.iterdir()) == [store]
    shutil.copy(store, tmp_path / "copy.db")
    store.chmod(0o400)
    assert condition_of(store).state == "whole"
