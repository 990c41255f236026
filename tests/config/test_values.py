"""What is wrong with a job's values is told before torch is imported, wherever it can be."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from study.config.overrides import KEYS
from study.config.values import check_values
from study.errors import UsageError
from tests.commands import compositions

REFUSED = {
    "seed=abc": "seed=abc: should be a whole number",
    "subject.seed=abc": "subject.seed=abc: should be a whole number",
    "force=maybe": "force=maybe: should be true or false",
    "trainer.threads=0": "trainer.threads=0: should be at least 1 or auto",
    "trainer.accelerator=tpu": "trainer.accelerator=tpu: should be cpu or gpu",
    "+trainer.thread=2": "trainer.thread: there is no such setting; did you mean threads?",
    "faulty.lr=fast": "faulty.lr=fast: should be a number or auto",
    "faulty.checkpoint=none.pt": "faulty.checkpoint=none.pt: there is no such file",
    "faulty.checkpoint=..": "faulty.checkpoint=..: is a folder; name the file in it",
    "tracking.uri=ftp://host": "tracking.uri=ftp://host: use auto",
    "tracking.experiment=": "tracking.experiment=: should be text of 1 or more characters",
    "+method=arachne method.population=auto": "method.population=auto: should be a whole number",
}


@pytest.mark.parametrize("line", REFUSED)
def test_a_wrong_value_gets_one_sentence(line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (job,) = compositions(*line.split())
    with pytest.raises(UsageError) as refusal:
        check_values(job)
    assert str(refusal.value).startswith(REFUSED[line])
    assert "\n" not in str(refusal.value)
    assert not os.listdir(tmp_path)


@pytest.mark.parametrize("key", [key for key in KEYS if key not in ("method", "dataset")])
def test_a_part_that_was_taken_out(key: str) -> None:
    with pytest.raises(UsageError, match=rf"^{key}: is missing; {key}=(NAME|VALUE) puts it there$"):
        compositions(f"~{key}")


def test_right_values_pass() -> None:
    for line in ("+method=hudd method.layers=all", "+method=full/joint", "seed=3 trainer=gpu"):
        (job,) = compositions(*line.split())
        check_values(job)


def test_classes_of_ones_own_are_checked_later() -> None:
    own = ["trainer._target_=mine.Hardware", "trainer.threads=x", "tracking._target_=mine.Store", "trust=[mine]"]
    (job,) = compositions(*own)
    check_values(job)


def test_no_check_imports_torch() -> None:
    code = (
        "import sys, study.config.values; sys.exit(any(name in sys.modules for name in ('torch', 'mlflow', 'pandas')))"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
