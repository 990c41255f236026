"""A full disk is told in one sentence, whatever library met it."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest
from safetensors import SafetensorError

from study.errors import UsageError
from study.storage.files import new_folder, write_atomically
from study.storage.space import full_disk, writing

FULL = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
ERRORS = [
    FULL,
    OSError(errno.EDQUOT, os.strerror(errno.EDQUOT)),
    SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)"),
    RuntimeError("(sqlite3.OperationalError) database or disk is full"),
]


@pytest.mark.parametrize("error", ERRORS)
def test_the_sentence_names_what_could_not_be_written(error: Exception, tmp_path: Path) -> None:
    with pytest.raises(OSError) as raised, writing(tmp_path / "key"):
        raise error
    sentence = full_disk(raised.value)
    assert sentence is not None and "\n" not in sentence
    assert f"{tmp_path / 'key'} could not be written" in sentence
    assert "free some space and repeat the command" in sentence


def test_the_cause_is_found_behind_another_error() -> None:
    try:
        try:
            raise FULL
        except OSError as error:
            raise UsageError("could not be recorded") from error
    except UsageError as error:
        assert full_disk(error)
    try:
        try:
            raise FULL
        finally:
            raise ValueError("while tidying up")
    except ValueError as error:
        assert full_disk(error)


@pytest.mark.parametrize("error", [OSError(errno.EACCES, "denied"), ValueError("28"), OSError("no space"), KeyError(1)])
def test_other_errors_stay_what_they_are(error: Exception, tmp_path: Path) -> None:
    with pytest.raises(type(error)) as raised, writing(tmp_path):
        raise error
    assert raised.value is error and full_disk(error) is None


def test_files_and_folders_name_themselves_and_leave_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int) -> None:
        raise FULL

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError) as raised:
        write_atomically(tmp_path / "file", "x")
    assert raised.value.filename == str(tmp_path / "file")
    with pytest.raises(OSError) as raised, new_folder(tmp_path / "folder") as new:
        write_atomically(new / "inner", "x")
    assert raised.value.filename == str(tmp_path / "folder")
    assert os.listdir(tmp_path) == []
