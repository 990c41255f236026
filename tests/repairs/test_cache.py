"""Repairs on disk come back as they were, and half of one is never taken for a whole."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable
from pathlib import Path

import matplotlib.figure
import pytest
import torch

from study.errors import UsageError
from study.methods.model_level.finetune import Finetune
from study.problem.prediction import predict
from study.repairs import cache
from study.repairs.cache import load, repair_once, save
from study.repairs.changes import LayerChange
from study.repairs.run import RepairResult
from study.storage.checksums import seal
from study.storage.models import weights_hash
from tests.crashing import Crashing
from tests.damages import DAMAGES
from tests.deaths import die, killed
from tests.problems import HARDWARE, digits_problem


def a_repair() -> RepairResult:
    model = digits_problem(batch_norm=True).copy()
    with torch.no_grad():
        list(model.parameters())[0].mul_(1 / 3)
    return RepairResult(
        outcome="repaired",
        model=model,
        seconds=1 / 3,
        cpu_seconds=2 / 3,
        changed=True,
        curves={"fitness": [(0, 0.1), (5, 1e-30)]},
        costs={"steps": 26.0, "weights_changed": 2 / 3},
        layers=[LayerChange("net.layers.1", 10, 3, 1 / 3, 0.1)],
        code="fingerprint",
    )


def test_a_repair_comes_back_bit_for_bit(tmp_path: Path) -> None:
    repair, folder = a_repair(), tmp_path / "key"
    save(repair, folder)
    result = load(folder, ())
    assert result is not None and result.model is not None and repair.model is not None
    assert weights_hash(result.model) == weights_hash(repair.model)
    test = digits_problem().repair_set
    assert torch.equal(predict(result.model, test), predict(repair.model, test))
    assert not result.model.training
    told = [(r.outcome, r.reason, r.seconds, r.changed, r.curves, r.costs, r.code) for r in (result, repair)]
    assert told[0] == told[1] and result.code == "fingerprint"
    assert result.cpu_seconds == repair.cpu_seconds
    assert result.layers == repair.layers and isinstance(result.layers[0], LayerChange)


@pytest.mark.parametrize("outcome", ["failure", "unadaptable", "corrupted"])
def test_an_end_without_a_repair_comes_back_too(tmp_path: Path, outcome: str) -> None:
    save(RepairResult(outcome=outcome, reason="a reason", seconds=2.0), tmp_path / "key")  # type: ignore[arg-type]
    result = load(tmp_path / "key", ())
    assert result is not None
    assert (result.outcome, result.reason, result.seconds, result.model) == (outcome, "a reason", 2.0, None)


def test_pictures_lie_beside_the_repair(tmp_path: Path) -> None:
    repair = dataclasses.replace(a_repair(), pictures={"surface": matplotlib.figure.Figure()})
    save(repair, tmp_path / "key")
    assert (tmp_path / "key" / "surface.png").read_bytes().startswith(b"\x89PNG")


def test_nothing_kept_is_none(tmp_path: Path) -> None:
    assert load(tmp_path / "key", ()) is None


def test_a_crash_in_the_middle_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> str:
        raise OSError("no space left on device")

    monkeypatch.setattr("study.repairs.cache.json.dumps", full)
    repair = a_repair()
    with pytest.raises(OSError, match="no space"):
        save(repair, tmp_path / "key")
    assert os.listdir(tmp_path) == []
    assert load(tmp_path / "key", ()) is None


def test_a_crash_leaves_the_repair_of_before(tmp_path: Path) -> None:
    save(RepairResult(outcome="failure", reason="first"), tmp_path / "key")
    broken = dataclasses.replace(a_repair(), pictures={"surface": None})  # type: ignore[dict-item]
    with pytest.raises(AttributeError):
        save(broken, tmp_path / "key")
    result = load(tmp_path / "key", ())
    assert result is not None and result.reason == "first"
    assert os.listdir(tmp_path) == ["key"]


def test_a_stored_class_that_is_not_configured_is_refused(tmp_path: Path) -> None:
    save(a_repair(), tmp_path / "key")
    path = tmp_path / "key" / "model.json"
    path.write_text(path.read_text().replace("study.models.mlp.MLP", "their.Net"))
    seal(path.parent)
    with pytest.raises(UsageError, match="names their.Net"):
        load(tmp_path / "key", ())


def test_a_repair_is_computed_once_and_again_when_it_is_asked_for(tmp_path: Path) -> None:
    problem, folder = digits_problem(), tmp_path / "key"
    first = repair_once(Finetune(epochs=1), problem, HARDWARE, folder, "code")
    again = repair_once(Finetune(epochs=1), problem, HARDWARE, folder, "other code")
    assert again.seconds == first.seconds and again.code == first.code == "code"
    other = repair_once(Finetune(epochs=1), problem, HARDWARE, folder, "other code", again=True)
    stored = load(folder, ())
    assert other.code == "other code" and stored is not None and stored.code == "other code"


def test_a_repair_that_crashes_when_it_is_run_again_leaves_the_one_before(tmp_path: Path) -> None:
    problem, folder = digits_problem(), tmp_path / "key"
    repair_once(Finetune(epochs=1), problem, HARDWARE, folder, "code")
    with pytest.raises(ArithmeticError):
        repair_once(Crashing(), problem, HARDWARE, folder, "code", again=True)
    stored = load(folder, ())
    assert stored is not None and stored.outcome == "repaired"


@pytest.mark.parametrize("name", ["repaired.safetensors", "model.json", "repair.json"])
@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_repair_is_named_and_not_used(
    tmp_path: Path, name: str, damage: Callable[[Path], None], caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "key"
    save(a_repair(), folder)
    damage(folder / name)
    assert load(folder, ()) is None
    (warning,) = caplog.messages
    assert str(folder / name) in warning and "key.damaged" in warning
    assert not folder.exists()


def test_a_damaged_repair_is_computed_anew_and_jobs_keep_what_they_have(tmp_path: Path) -> None:
    problem, folder, job = digits_problem(), tmp_path / "key", tmp_path / "of a job.safetensors"
    first = repair_once(Finetune(epochs=1), problem, HARDWARE, folder, "code")
    job.hardlink_to(folder / "repaired.safetensors")
    (folder / "repair.json").write_text("")
    again = repair_once(Finetune(epochs=1), problem, HARDWARE, folder, "other code")
    assert first.model is not None and again.model is not None and again.code == "other code"
    assert weights_hash(again.model) == weights_hash(first.model)
    assert job.read_bytes() == (folder / "repaired.safetensors").read_bytes()
    assert not job.samefile(folder / "repaired.safetensors")


@pytest.mark.parametrize("moment", ["save_model", "seal"])
def test_a_kill_inside_a_write_leaves_the_repair_of_before_and_its_remains_go(
    tmp_path: Path, moment: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    problem, folder = digits_problem(), tmp_path / "key"
    save(RepairResult(outcome="failure", reason="first"), folder)
    with monkeypatch.context() as patches:
        patches.setattr(cache, moment, die)
        killed(lambda: save(a_repair(), folder))
    assert len(os.listdir(tmp_path)) == 2
    assert repair_once(Finetune(epochs=1), problem, HARDWARE, folder, "code").reason == "first"
    assert sorted(os.listdir(tmp_path)) == ["key", "key.lock"]
