"""What is on disk is whole or not there, and locks hold between processes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from study.storage.files import is_locked, key_of, locked, new_folder, write_atomically


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
