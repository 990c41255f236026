"""Full disks and damaged caches, seen from the command line: a sentence, and the same command goes on."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import pytest
from safetensors import SafetensorError

from study.storage.paths import cache, multirun
from study.tracking.result import RESULT, Result
from study.tracking.store import Store
from tests.damages import flip

Study = Callable[..., tuple[int, str]]
LINE = ("+method=finetune", "method.epochs=2")


@pytest.fixture
def study_(program: Callable[..., tuple[int, str, str]]) -> Study:
    """The program's exit code and what it prints, the errors at the end."""

    def run(*arguments: str) -> tuple[int, str]:
        code, *told = program(*arguments)
        return code, "".join(told)

    return run


def full(*_: object, **__: object) -> NoReturn:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def full_for_safetensors(*_: object, **__: object) -> NoReturn:
    raise SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")


FULL: dict[str, tuple[Callable, str]] = {
    "study.storage.models.save_file": (full_for_safetensors, r"\.cache/faulty/\w+"),
    "study.repairs.cache.seal": (full, r"\.cache/repairs/\w+"),
    "study.tracking.artifacts.parquet.write_table": (full, r"multirun/\S+/artifacts"),
    "study.tracking.result.write_atomically": (full, ""),
    "hydra.core.utils._save_config": (full, "multirun"),
}
SLOW = ("study.repairs.cache.seal", "study.tracking.result.write_atomically")
"""Not in every run of the suite: they are like the one before."""


@pytest.mark.parametrize("place", [pytest.param(name, marks=pytest.mark.slow if name in SLOW else ()) for name in FULL])
def test_a_full_disk_is_one_sentence_and_the_same_command_goes_on(
    study_: Study, place: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    fail, named = FULL[place]
    with monkeypatch.context() as patches:
        patches.setattr(place, fail)
        code, told = study_(*LINE)
    assert code == 1
    assert "Traceback" not in told and not list(multirun().rglob(RESULT))
    (sentence,) = [line for line in told.splitlines() if "is full" in line]
    assert re.search(named, sentence) and "free some space and repeat the command" in sentence
    code, told = study_(*LINE)
    assert code == 0
    repaired_before = place.startswith("study.tracking")
    assert ("repairing" not in told) == repaired_before
    assert len(Store().recorded()) == len(list(multirun().rglob(RESULT))) == 1
    assert not [path for path in tmp_path.rglob(".*") if re.fullmatch(r"\..+\.[0-9a-f]{12}", path.name)]


def test_a_sweep_whose_disk_is_full_ends_with_a_sentence_and_1(study_: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    line = ("-m", *LINE, "seed=0")
    with monkeypatch.context() as patches:
        patches.setattr("study.repairs.cache.seal", full)
        code, told = study_(*line)
    assert code == 1 and "Traceback" not in told
    assert len(re.findall(r"crashed: the disk \(or a quota\) is full: \S+/repairs/\w+ could not be written", told)) == 2
    with monkeypatch.context() as patches:
        patches.setattr("study.cli.logbook.Logbook.end", full)
        code, told = study_(*line)
    assert code == 1 and "Traceback" not in told and "study: the disk (or a quota) is full" in told
    assert study_(*line)[0] == 0
    assert len(Store().recorded()) == 1


def test_damaged_caches_change_no_result(study_: Study) -> None:
    assert study_(*LINE)[0] == 0
    weights = [next(cache().rglob(f"{name}.safetensors")) for name in ("faulty", "repaired")]
    for file in weights:
        flip(file)
    code, told = study_(*LINE, "~metric.comparisons.aaod")
    assert code == 0
    for file in weights:
        assert len(re.findall(f"{file} is damaged: .* set aside as .* and made again", told)) == 1
    first, again = sorted((Result.read(path.parent) for path in multirun().rglob(RESULT)), key=lambda one: one.started)
    assert again.metrics["after/accuracy"] == first.metrics["after/accuracy"]
    assert again.metrics["before/accuracy"] == first.metrics["before/accuracy"]
