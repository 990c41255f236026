"""Safeguards in jobs: one repair for all of them, and the model that was measured is the one that is stored."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow.parquet
import pytest
import torch

import study
from study.repairs import cache as cache_module
from study.storage.paths import conf_folder
from study.tracking.result import Result
from tests.commands import FAST, prepared, run_job

pytestmark = pytest.mark.usefixtures("store")
FINETUNE = ("+method=finetune", "method.epochs=2", *FAST)
FITTED = {"interpolation": "share", "uncertainty_scaling": "temperature"}
"""What a safeguard chooses with its usual settings."""
NAMES = sorted(path.stem for path in (conf_folder() / "safeguard").glob("*.yaml"))


@pytest.fixture
def repairs(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the approaches that have really been run."""
    called: list[str] = []
    original: Callable = cache_module.run_repair

    def counted(approach, problem, hardware):  # type: ignore[no-untyped-def]
        called.append(type(approach).__name__)
        return original(approach, problem, hardware)

    monkeypatch.setattr(cache_module, "run_repair", counted)
    return called


def test_all_safeguards_share_one_repair_and_each_model_is_stored_as_it_was_measured(
    repairs: list[str], tmp_path: Path
) -> None:
    (job,) = prepared(*FINETUNE)
    job.data.load(0)
    inputs = job.data.splits["test"].tensors().inputs
    answers = set()
    for name in NAMES:
        outcome, folder = run_job(*FINETUNE, f"safeguard={name}", name=name)
        result, model = Result.read(folder), study.load(folder)
        recorded = pyarrow.parquet.read_table(folder / "artifacts" / "predictions.parquet").to_pydict()
        confidence = model(inputs).softmax(1).amax(1)
        assert outcome == "repaired" and result.tags["safeguard"] == name
        fitted = {cost for cost in result.metrics if cost.startswith("cost/safeguard_")}
        assert fitted == ({f"cost/safeguard_{FITTED[name]}"} if name in FITTED else set())
        assert model(inputs).argmax(1).tolist() == recorded["after"]
        assert confidence.allclose(torch.tensor(recorded["after_confidence"]), atol=1e-6)
        right = [after == label for after, label in zip(recorded["after"], recorded["label"], strict=True)]
        assert sum(right) / len(right) == pytest.approx(result.metrics["after/accuracy"])
        program = torch.export.load(study.export(folder, tmp_path / f"{name}.pt2")).module()
        assert program(inputs[:5]).allclose(model(inputs[:5]), atol=1e-5)
        answers.add(tuple(confidence.tolist()))
    assert repairs == ["Finetune"]
    assert len(answers) == len(NAMES)


@pytest.mark.parametrize("name", ["interpolation", "uncertainty_dropout"])
def test_a_safeguard_that_a_repair_does_not_allow_is_a_result(name: str) -> None:
    outcome, folder = run_job("+method=reassure_soft", f"safeguard={name}", *FAST)
    result = Result.read(folder)
    assert outcome == "unadaptable" and result.status == "FINISHED"
    assert result.tags["reason"] == f"{name} needs a repair of weights alone, and this one is a PatchNetwork"
    assert "before/accuracy" in result.metrics and "after/accuracy" not in result.metrics
    assert not (folder / "artifacts" / "repaired").exists()


def test_a_safeguard_that_a_task_does_not_allow_trains_nothing(repairs: list[str], tmp_path: Path) -> None:
    np.savez(tmp_path / "rows.npz", inputs=np.zeros((200, 5), np.float32), labels=np.arange(200) % 2)
    rows = ("dataset=arrays", f"dataset.file={tmp_path / 'rows.npz'}", "architecture=mlp")
    outcome, folder = run_job(*FINETUNE, "safeguard=unanimity", *rows)
    assert outcome == "unadaptable" and repairs == []
    assert "unanimity needs images to mirror" in Result.read(folder).tags["reason"]
    assert not (tmp_path / ".cache" / "faulty").exists()
