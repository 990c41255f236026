"""What is on disk is whole or not there, and locks hold between processes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from study.storage.files import (
    ABANDONED,
    is_locked,
    key_of,
    locked,
    new_folder,
    remove_remains,
    set_aside,
    staged,
    write_atomically,
)
from tests.deaths import die, killed


def test_a_file_is_replaced_as_a_whole(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "file.json"
    write_atomically(path, "old")
    write_atomically(path, b"new")
    assert path.read_text() == "new"
    assert os.listdir(path.parent) == ["file.json"]


def test_a_file_that_cannot_be_written_leaves_the_old_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file.json"
    write_atomically(path, "old")

    def full(descriptor: int) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="no space"):
        write_atomically(path, "new")
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["file.json"]


def test_files_are_as_readable_as_others(tmp_path: Path) -> None:
    (tmp_path / "usual").write_text("")
    write_atomically(tmp_path / "file", "")
    with new_folder(tmp_path / "folder"):
        pass
    (tmp_path / "usual_folder").mkdir()
    modes = {name: (tmp_path / name).stat().st_mode for name in os.listdir(tmp_path)}
    assert modes["file"] == modes["usual"]
    assert modes["folder"] == modes["usual_folder"]


def test_a_folder_appears_when_it_is_complete(tmp_path: Path) -> None:
    final = tmp_path / "key"
    with new_folder(final) as new:
        (new / "a").write_text("1")
        assert not final.exists()
    assert os.listdir(tmp_path) == ["key"]
    assert (final / "a").read_text() == "1"


def test_an_exception_leaves_the_old_folder_and_nothing_else(tmp_path: Path) -> None:
    final = tmp_path / "key"
    with new_folder(final) as new:
        (new / "a").write_text("1")
    with pytest.raises(ValueError, match="half"), new_folder(final) as new:
        (new / "a").write_text("2")
        raise ValueError("half way")
    assert os.listdir(tmp_path) == ["key"]
    assert (final / "a").read_text() == "1"


def test_a_folder_that_exists_is_replaced_without_a_trace_of_the_old(tmp_path: Path) -> None:
    final = tmp_path / "key"
    for name in ("old", "new"):
        with new_folder(final) as folder:
            (folder / name).write_text(name)
    assert os.listdir(final) == ["new"]
    assert os.listdir(tmp_path) == ["key"]


def test_what_is_staged_takes_its_name_when_it_is_whole_and_the_rest_goes(tmp_path: Path) -> None:
    with staged(tmp_path / "key") as room:
        (room / "key").mkdir()
        (room / "key" / "a").write_text("1")
        (room / "archive").write_text("2")
        assert not (tmp_path / "key").exists()
    with pytest.raises(ValueError, match="half"), staged(tmp_path / "file") as room:
        (room / "file").write_text("3")
        raise ValueError("half way")
    assert os.listdir(tmp_path) == ["key"] and os.listdir(tmp_path / "key") == ["a"]


def test_a_lock_is_seen_by_others_and_released_by_death(tmp_path: Path) -> None:
    path = tmp_path / "locks" / "key.lock"
    assert not is_locked(path)
    holding = (
        "import sys; from pathlib import Path; from study.storage.files import locked\n"
        "with locked(Path(sys.argv[1])): print('held', flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", holding, str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None and process.stdout.readline() == "held\n"
        assert is_locked(path)
        process.kill()
        process.wait()
    assert not is_locked(path)
    with locked(path):
        assert path.exists()


def test_keys() -> None:
    expected = "e57f5d37865437a82e11"  # of SHA-256 of {"a":null,"b":[1,2.5]}
    assert key_of({"b": [1, 2.5], "a": None}) == key_of({"a": None, "b": (1, 2.5)}) == expected
    assert len({key_of(value) for value in ({}, {"a": 1}, {"a": "1"}, [1], 1, None, "")}) == 7
    assert key_of(Path("x")) == key_of("x")


def test_everything_has_reached_the_disk_before_it_takes_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    final, synced, fsync = tmp_path / "key", [], os.fsync

    def noted(descriptor: int) -> None:
        name = Path(f"/proc/self/fd/{descriptor}").readlink().name
        synced.append((name.split(".")[1] if name.startswith(".") else name, final.exists()))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", noted)
    with new_folder(final) as new:
        (new / "a").write_text("1")
        (new / "inner").mkdir()
        (new / "inner" / "b").write_text("2")
    assert {name for name, there in synced if not there} == {"a", "b", "inner", "key"}
    assert synced[-1] == (tmp_path.name, True)
    synced.clear()
    write_atomically(tmp_path / "file", "x")
    assert [name for name, _ in synced] == ["file", tmp_path.name]
    synced.clear()
    with staged(tmp_path / "late") as room:
        (room / "late").write_text("x")
    assert [name for name, _ in synced] == ["late", tmp_path.name]


def test_remains_of_killed_writers_are_removed_by_the_next_who_holds_the_lock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with new_folder(tmp_path / "key") as new:
        (new / "a").write_text("1")

    def replaced() -> None:
        monkeypatch.setattr(os, "fsync", die)
        with new_folder(tmp_path / "key") as new:
            (new / "a").write_text("2")

    killed(replaced)
    killed(lambda: (monkeypatch.setattr(os, "fsync", die), write_atomically(tmp_path / "key.json", "x")))
    left = sorted(os.listdir(tmp_path))
    assert len(left) == 3 and left[0].startswith(".key.") and (tmp_path / "key" / "a").read_text() == "1"
    others = {".key.notours", ".keys.0123456789ab", ".key.lock.0123456789ab"}
    for name in others:
        (tmp_path / name).touch()
    remove_remains(tmp_path / "key")
    remove_remains(tmp_path / "key.json")
    assert set(os.listdir(tmp_path)) == {"key", *others}
    remove_remains(tmp_path / "absent" / "key")


def test_without_a_lock_only_old_remains_are_removed(tmp_path: Path) -> None:
    young, old = tmp_path / ".file.0123456789ab", tmp_path / ".file.0123456789cd"
    for path in (young, old):
        path.touch()
    written = old.stat().st_mtime - ABANDONED - 60
    os.utime(old, (written, written))
    write_atomically(tmp_path / "file", "x")
    assert young.exists() and not old.exists()


def test_what_is_set_aside_keeps_its_content_under_its_other_names(tmp_path: Path) -> None:
    for content in ("first", "second"):
        (tmp_path / "key").mkdir()
        (tmp_path / "key" / "a").write_text(content)
        (tmp_path / f"{content} name").hardlink_to(tmp_path / "key" / "a")
        assert set_aside(tmp_path / "key") == tmp_path / "key.damaged"
    assert (tmp_path / "first name").read_text() == "first"
    assert (tmp_path / "key.damaged" / "a").read_text() == "second"
    assert not (tmp_path / "key").exists()
