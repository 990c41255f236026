"""Repairs on disk come back as they were, and half of one is never taken for a whole."""

from __future__ import annotations

import os
from pathlib import Path

import matplotlib.figure
import pytest
import torch

from study.errors import UsageError
from study.problem.prediction import predict
from study.repair.cache import keep, kept
from study.repair.run import Repair
from study.storage.models import weights_hash
from tests.problems import digits_problem


def a_repair() -> Repair:
    model = digits_problem(batch_norm=True).copy()
    with torch.no_grad():
        list(model.parameters())[0].mul_(1 / 3)
    return Repair(
        "repaired",
        model=model,
        seconds=1 / 3,
        changed=True,
        curves={"fitness": [(0, 0.1), (5, 1e-30)]},
        costs={"steps": 26.0, "weights_changed": 2 / 3},
    )


def test_a_repair_comes_back_bit_for_bit(tmp_path: Path) -> None:
    repair, folder = a_repair(), tmp_path / "key"
    keep(repair, folder, "fingerprint")
    result = kept(folder, ())
    assert result is not None and result.model is not None and repair.model is not None
    assert weights_hash(result.model) == weights_hash(repair.model)
    test = digits_problem().repair_set
    assert torch.equal(predict(result.model, test), predict(repair.model, test))
    assert not result.model.training
    told = [(r.outcome, r.reason, r.seconds, r.changed, r.curves, r.costs, r.code) for r in (result, repair)]
    assert told[0] == told[1] and result.code == "fingerprint"


@pytest.mark.parametrize("outcome", ["failure", "unadaptable", "corrupted"])
def test_an_end_without_a_repair_comes_back_too(tmp_path: Path, outcome: str) -> None:
    keep(Repair(outcome, "a reason", seconds=2.0), tmp_path / "key", "x")  # type: ignore[arg-type]
    result = kept(tmp_path / "key", ())
    assert result is not None
    assert (result.outcome, result.reason, result.seconds, result.model) == (outcome, "a reason", 2.0, None)


def test_pictures_lie_beside_the_repair(tmp_path: Path) -> None:
    repair = a_repair()
    repair.pictures = {"surface": matplotlib.figure.Figure()}
    keep(repair, tmp_path / "key", "x")
    assert (tmp_path / "key" / "surface.png").read_bytes().startswith(b"\x89PNG")


def test_nothing_kept_is_none(tmp_path: Path) -> None:
    assert kept(tmp_path / "key", ()) is None


def test_a_crash_in_the_middle_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> str:
        raise OSError("no space left on device")

    monkeypatch.setattr("study.repair.cache.json.dumps", full)
    repair = a_repair()
    with pytest.raises(OSError, match="no space"):
        keep(repair, tmp_path / "key", "x")
    assert os.listdir(tmp_path) == []
    assert kept(tmp_path / "key", ()) is None


def test_a_crash_leaves_the_repair_of_before(tmp_path: Path) -> None:
    keep(Repair("failure", "first"), tmp_path / "key", "x")
    broken = a_repair()
    broken.pictures = {"surface": None}
    with pytest.raises(AttributeError):
        keep(broken, tmp_path / "key", "x")
    result = kept(tmp_path / "key", ())
    assert result is not None and result.reason == "first"
    assert os.listdir(tmp_path) == ["key"]


def test_a_stored_class_that_is_not_configured_is_refused(tmp_path: Path) -> None:
    keep(a_repair(), tmp_path / "key", "x")
    path = tmp_path / "key" / "model.json"
    path.write_text(path.read_text().replace("study.models.mlp.MLP", "their.Net"))
    with pytest.raises(UsageError, match="names the class their.Net"):
        kept(tmp_path / "key", ())
