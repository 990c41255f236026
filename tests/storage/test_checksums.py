"""What is stored is used only if it is what was written."""

from __future__ import annotations

import json
import logging
import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from study.errors import Damaged
from study.storage.checksums import CHECKSUMS, checksums, is_kept, read_signed, seal, signed, verify
from tests.damages import DAMAGES, flip


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A sealed folder of two files."""
    folder = tmp_path / "key"
    folder.mkdir()
    (folder / "a.json").write_text("[1, 2, 3]")
    (folder / "b").write_bytes(bytes(range(256)))
    seal(folder)
    return folder


def test_what_is_whole_is_kept(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    verify(folder)
    assert is_kept(folder) and folder.exists()
    (folder / ".DS_Store").write_text("not ours")
    assert is_kept(folder)
    assert not caplog.messages


def test_sha256sum_reads_the_checksums(folder: Path) -> None:
    told = subprocess.run(["sha256sum", "-c", CHECKSUMS], cwd=folder, capture_output=True, text=True, check=True)
    assert told.stdout == "a.json: OK\nb: OK\n"


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("name", ["a.json", "b", CHECKSUMS])
def test_damage_is_named_in_one_line_and_set_aside(
    folder: Path, name: str, damage: Callable[[Path], None], caplog: pytest.LogCaptureFixture
) -> None:
    damage(folder / name)
    with pytest.raises(Damaged, match=f"key/{name} is (damaged|missing)"):
        verify(folder)
    assert not is_kept(folder)
    assert os.listdir(folder.parent) == ["key.damaged"]
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert str(folder / name) in record.getMessage() and "\n" not in record.getMessage()


def test_damage_beside_the_named_files_is_passed_over(folder: Path) -> None:
    flip(folder / "b")
    verify(folder, ["a.json"])
    with pytest.raises(Damaged, match="b is damaged"):
        verify(folder, ["b"])


def test_checksums_that_hold_already_are_taken_over(folder: Path) -> None:
    before = checksums(folder)
    flip(folder / "b")  # between two names of one file
    seal(folder, before)
    with pytest.raises(Damaged, match="b is damaged"):
        verify(folder)


def test_a_small_file_carries_its_checksum(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(signed({"folder": "/x", "n": 1}))
    assert read_signed(tmp_path / "a.json") == {"folder": "/x", "n": 1}


@pytest.mark.parametrize("damage", DAMAGES[:-1])
def test_damage_to_a_small_file_is_seen(tmp_path: Path, damage: Callable[[Path], None]) -> None:
    path = tmp_path / "a.json"
    path.write_text(signed({"folder": "/x"}))
    damage(path)
    with pytest.raises(Damaged, match=r"a\.json is damaged"):
        read_signed(path)


@pytest.mark.parametrize("content", ["{}", "[]", "null", '{"folder": "/x"}', json.dumps({"folder": 1, "sha256": 2})])
def test_a_small_file_without_its_checksum_is_damaged(tmp_path: Path, content: str) -> None:
    (tmp_path / "a.json").write_text(content)
    with pytest.raises(Damaged, match=r"a\.json is damaged"):
        read_signed(tmp_path / "a.json")
