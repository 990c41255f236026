"""A job that was keyed once is known to be finished without torch, unless anything differs that its key is made of."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from study.config import known
from study.config.keys import Keys
from study.config.names import Names
from study.config.settings import resolved
from study.runtime.hardware import Hardware
from study.storage.paths import cache
from tests.commands import FAST, compositions, prepared, run_job

LINE = ("metric=fast", "trainer.threads=1", "trainer.progress=false", "faulty.epochs=1")
OWN = ("dataset=arrays", "architecture=mlp")


@pytest.fixture(autouse=True)
def settled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(known, "SETTLED", 0.0)


@pytest.fixture
def arrays(tmp_path: Path) -> Path:
    """A folder with a small data set of rows."""
    draws = np.random.default_rng(0)
    folder = tmp_path / "arrays"
    folder.mkdir()
    np.savez(
        folder / "rows.npz", inputs=draws.normal(size=(200, 4)).astype("float32"), labels=draws.integers(0, 2, size=200)
    )
    return folder


def is_known(*arguments: str) -> bool:
    (job,) = compositions(*arguments)
    return known.finished(job.config, job.hydra)


def test_a_finished_job_is_known_by_its_key_and_another_is_not(store: Path) -> None:
    assert not is_known(*LINE)
    run_job(*LINE)
    assert is_known(*LINE)
    assert is_known(*LINE, "fail_fast=true", "objective=after/accuracy")
    for other in ("force=true", "seed=1", "faulty.epochs=2", "dataset.limit=50", "trainer.threads=2", "+method=care"):
        assert not is_known(*LINE, other), other


def test_what_is_noted_is_the_key_of_the_whole_computation(store: Path) -> None:
    run_job(*LINE)
    (note,) = (cache() / "keys").glob("*.json")
    (job,) = prepared(*LINE)
    job.data.load(0)
    assert known.Note(note).key == Keys.of(job).job


def test_a_job_that_is_not_in_the_store_is_not_finished(store: Path) -> None:
    run_job(*LINE)
    store.unlink()
    assert not is_known(*LINE)


def test_changed_data_are_seen_whatever_their_times_say(store: Path, arrays: Path) -> None:
    line = [*LINE, *OWN, f"dataset.file={arrays / 'rows.npz'}"]
    run_job(*line)
    assert is_known(*line)
    file = arrays / "rows.npz"
    before = file.stat()
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert file.stat().st_size == before.st_size
    assert not is_known(*line)


def test_a_folder_is_all_that_lies_below_it(arrays: Path) -> None:
    (arrays / "deep").mkdir()
    first = known.stamps([arrays])
    assert first == known.stamps([arrays])
    (arrays / "deep" / "test.npy").touch()
    second = known.stamps([arrays])
    assert second != first
    (arrays / "deep" / "test.npy").unlink()
    shutil.copy(arrays / "rows.npz", arrays / "rows.npz.new")
    (arrays / "rows.npz.new").replace(arrays / "rows.npz")  # of the same size
    assert known.stamps([arrays]) not in (first, second)


def test_a_file_that_appears_where_one_was_looked_for_is_seen(tmp_path: Path) -> None:
    missing = tmp_path / "raw"
    before = known.stamps([missing])
    missing.touch()
    assert before is not None and known.stamps([missing]) not in (None, before)


def test_nothing_is_said_of_files_that_are_unknown_too_many_or_still_change(
    arrays: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert known.stamps(None) is None
    assert known.stamps([]) == {}
    monkeypatch.setattr(known, "MOST_FILES", 2)
    assert known.stamps([arrays]) is not None
    monkeypatch.setattr(known, "MOST_FILES", 1)
    assert known.stamps([arrays]) is None
    monkeypatch.setattr(known, "MOST_FILES", 2)
    monkeypatch.setattr(known, "SETTLED", 60.0)
    assert known.stamps([arrays]) is None


def test_a_checkpoint_belongs_to_the_files(store: Path, tmp_path: Path) -> None:
    run_job(*LINE, name="first")
    weights = shutil.copy(next((cache() / "faulty").glob("*/faulty.safetensors")), tmp_path / "mine.safetensors")
    line = [*LINE, f"faulty.checkpoint={weights}"]
    run_job(*line, name="second")
    assert is_known(*line)
    os.utime(weights)
    assert not is_known(*line)


def test_code_of_ones_own_and_a_gpu_are_left_to_the_job_itself(store: Path) -> None:
    (job,) = compositions(*FAST)
    values, names = resolved(job.config), Names.of(job.config, job.choices, [])
    assert known.Note.of(values, names, Hardware(threads=1)) is not None
    assert known.Note.of(values, names, Hardware(threads=1, accelerator="gpu")) is None
    values["method"] = {"_target_": "study.methods.x.X", "parts": [{"_target_": "mine.Part"}]}
    assert known.Note.of(values, names, Hardware(threads=1)) is None


def test_other_code_makes_another_note(monkeypatch: pytest.MonkeyPatch) -> None:
    (job,) = compositions(*FAST)
    values, names = resolved(job.config), Names.of(job.config, job.choices, [])
    first = known.Note.of(values, names, Hardware(threads=1))
    monkeypatch.setattr(known, "_code", lambda: ["other"])
    assert known.Note.of(values, names, Hardware(threads=1)) != first


@pytest.mark.parametrize("remains", ["", "{", '{"key": "x", "stamps": {}}'])
def test_a_damaged_note_says_nothing(remains: str, tmp_path: Path) -> None:
    note = known.Note(tmp_path / "note.json")
    note.write("key", {})
    assert note.key == "key"
    note.file.write_text(remains)
    assert note.key is None
    note.write("key", {})
    assert note.key == "key"


def test_the_command_of_a_finished_job_imports_nothing_heavy_and_runs_it_no_more(store: Path, tmp_path: Path) -> None:
    run_job(*LINE)
    told = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "study", *LINE],
        env=os.environ | {"STUDY_HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert told.returncode == 0, told.stderr
    assert "none digits s0: finished already (force=true runs it again)" in told.stdout
    imported = {line.rpartition("|")[2].strip().partition(".")[0] for line in told.stderr.splitlines()}
    assert "pydantic" in imported and not imported & {"torch", "mlflow", "pytorch_lightning", "sklearn", "pandas"}
    (folder,) = [note.parent for note in (tmp_path / "multirun").rglob("finished-before.txt")]
    assert not (folder / "result.json").exists()
