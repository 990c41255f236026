"""What a kill leaves of a local store never blocks it: each process here is killed at a named moment."""

from __future__ import annotations

import logging
import os
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from mlflow import MlflowClient

from study.errors import NotRecorded, UsageError
from study.record import main as record
from study.report.runs import local_store, read
from study.storage.paths import mlruns, multirun
from study.tracking import making
from study.tracking.store import Store, import_mlflow
from tests.commands import finished_keys
from tests.deaths import die, killed
from tests.tracking.results import written

import_mlflow()


def test_a_kill_while_the_database_is_made_leaves_nothing_in_its_place(
    empty_store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = written(multirun() / "a", "a")

    def half_made(uri: str) -> None:
        with closing(sqlite3.connect(uri.removeprefix("sqlite:///"))) as connection:
            connection.execute("CREATE TABLE experiments (experiment_id INTEGER)")
        die()

    with monkeypatch.context() as patch:
        patch.setattr(making, "make_tables", half_made)
        killed(lambda: Store().write(folder))
    assert [file.name for file in mlruns().iterdir() if file.suffix != ".lock"] != []
    assert not (mlruns() / "mlflow.db").exists()

    monkeypatch.setattr(making, "make_tables", lambda uri: Path(uri[10:]).write_bytes(empty_store.read_bytes()))
    Store().check()
    Store().write(folder)

    assert finished_keys() == ["a"]
    assert sorted(file.name for file in mlruns().iterdir()) == [".lock", "artifacts", "mlflow.db"]


@pytest.mark.parametrize("moment", ["linked", "_sync"])
def test_a_kill_while_a_new_database_is_put_in_place_loses_neither(
    store: Path, empty_store: Path, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    written(multirun() / "a", "a")
    store.write_bytes(b"damaged " * 100)
    monkeypatch.setattr(making, "make_tables", lambda uri: Path(uri[10:]).write_bytes(empty_store.read_bytes()))
    with monkeypatch.context() as patch:
        patch.setattr(making, moment, die)
        killed(lambda: Store().check())
    assert store.read_bytes() == b"damaged " * 100

    Store().check()

    assert finished_keys() == ["a"]
    assert (mlruns() / "mlflow.db.damaged-1").read_bytes() == b"damaged " * 100


def interrupted_commit(database: Path) -> None:
    """Leave a journal that has reached the disk beside a database of which pages are overwritten already."""
    connection = sqlite3.connect(database, isolation_level=None)
    connection.execute("PRAGMA cache_size = 1")
    connection.execute("PRAGMA cache_spill = 1")
    connection.execute("BEGIN IMMEDIATE")
    connection.execute("UPDATE tags SET value = value || 'x'")
    for number in range(300):
        connection.execute("INSERT INTO experiment_tags VALUES (?, ?, 0)", (f"t{number}", "x" * 4000))
    die()


@pytest.mark.parametrize("reader", ["study", "record", "report", "ui"])
def test_a_commit_that_was_killed_is_undone_before_anybody_reads(store: Path, reader: str) -> None:
    folder = written(multirun() / "a", "a")
    Store().write(folder)
    killed(lambda: interrupted_commit(store))
    assert store.with_name("mlflow.db-journal").stat().st_size > 0
    with pytest.raises(sqlite3.OperationalError), closing(sqlite3.connect(f"file:{store}?mode=ro", uri=True)) as old:
        old.execute("SELECT * FROM runs")  # what blocked the home for good

    if reader == "study":
        Store().check()
        assert Store().finished("a")
    elif reader == "record":
        assert record([]) == 0
    elif reader == "report":
        assert len(read(local_store(), "study")) == 1
    else:
        Store().mend()
    assert finished_keys() == ["a"]
    assert not store.with_name("mlflow.db-journal").exists()


@pytest.mark.parametrize("moment", ["create_run", "log_batch", "set_terminated"])
def test_a_kill_inside_a_write_is_made_good_by_the_next(
    store: Path, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    folder = written(multirun() / "a", "a")
    with monkeypatch.context() as patch:
        patch.setattr(MlflowClient, moment, die)
        killed(lambda: Store().write(folder))
    assert not Store().finished("a")

    assert record([]) == 0

    assert finished_keys() == ["a"]
    assert record([]) == 0
    assert finished_keys() == ["a"]


@pytest.mark.parametrize("damage", ["half made", "unreadable"])
def test_a_database_of_no_use_is_set_aside_and_rebuilt_before_any_work(
    store: Path, empty_store: Path, damage: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(making, "make_tables", lambda uri: Path(uri[10:]).write_bytes(empty_store.read_bytes()))
    for key in "ab":
        Store().write(written(multirun() / key, key))
    written(multirun() / "older", "a", started=1000)
    (written(multirun() / "cut off", "c") / "result.json").unlink()
    store.unlink()
    if damage == "half made":
        with closing(sqlite3.connect(store)) as connection:
            connection.execute("CREATE TABLE experiments (experiment_id INTEGER)")
    else:
        store.write_bytes(b"not a database " * 100)
    content = store.read_bytes()

    with caplog.at_level(logging.WARNING):
        Store().check()

    assert (mlruns() / "mlflow.db.damaged-1").read_bytes() == content
    assert "it is set aside as mlflow.db.damaged-1, a new one holds 2 results" in caplog.text
    assert finished_keys() == ["a", "b"]
    assert Store().recorded() == {(key, 1_700_000_000_250) for key in "ab"}
    Store().write(written(multirun() / "d", "d"))  # also by connections that were open before
    assert finished_keys() == ["a", "b", "d"]
    caplog.clear()
    Store().check()
    assert not caplog.records


@pytest.mark.parametrize("content", [b"a diary, long enough to be taken for a database" * 10, "songs", "older"])
def test_what_may_be_somebody_elses_is_refused_and_left_alone(
    store: Path, tmp_path: Path, content: bytes | str
) -> None:
    other = tmp_path / "other.db"
    if isinstance(content, bytes):
        other.write_bytes(content)
    else:
        other.write_bytes(store.read_bytes() if content == "older" else b"")
        with closing(sqlite3.connect(other)) as connection, connection:
            connection.execute("CREATE TABLE songs (title)")
            if content == "older":
                connection.execute("UPDATE alembic_version SET version_num = '451aebb31d03'")
    before = other.read_bytes()

    with pytest.raises(UsageError, match=f"tracking.uri=sqlite:///{other}: {other} (is not|was written by an older)"):
        Store(uri=f"sqlite:///{other}").check()
    with pytest.raises(NotRecorded, match=r"is not an MLflow store|was written by an older"):
        Store(uri=f"sqlite:///{other}").write(written(tmp_path / "a"))

    assert other.read_bytes() == before


@pytest.mark.parametrize(
    ("uri", "sentence"),
    [
        ("sqlite:///", "is a folder; name a file in it, as sqlite:///FOLDER/mlflow.db"),
        ("sqlite:///{home}", "is a folder; name a file in it, as sqlite:///FOLDER/mlflow.db"),
        ("sqlite:///{home}/pipe", "is not a file; use sqlite:///FILE"),
        ("sqlite:///{home}/file/mlflow.db", "file is a file, not a folder; name another place"),
    ],
)
def test_a_place_where_no_database_can_be_is_refused(tmp_path: Path, uri: str, sentence: str) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match=sentence):
        Store(uri=uri.format(home=tmp_path)).check()
