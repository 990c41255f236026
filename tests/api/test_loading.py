"""A repaired model is taken out of a job's folder or an MLflow run, and into other programs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

import study
from study.errors import UsageError
from study.models.classifier import Classifier
from study.storage.checksums import seal
from tests.commands import FAST, run_job


@pytest.fixture
def folder(store: Path) -> Path:
    """The folder of a repair of digits."""
    outcome, where = run_job("+method=finetune", "method.epochs=1", *FAST)
    assert outcome == "repaired"
    return where


def inputs(count: int) -> Tensor:
    return torch.rand(count, 1, 8, 8, generator=torch.Generator().manual_seed(1))


def test_a_folder_and_the_folder_in_it_and_a_run_hold_the_same_model(folder: Path) -> None:
    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{folder.parents[1] / 'mlruns' / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("study")
    assert experiment is not None
    (run,) = client.search_runs([experiment.experiment_id])
    models = [study.load(place) for place in (folder, folder / "artifacts" / "repaired", run.info.run_id)]
    logits = [model(inputs(5)) for model in models]
    assert torch.equal(logits[0], logits[1]) and torch.equal(logits[0], logits[2])
    assert isinstance(models[0], Classifier) and not models[0].training


def test_where_there_is_no_model_it_says_so(tmp_path: Path, store: Path) -> None:
    with pytest.raises(UsageError, match="there is no such folder"):
        study.load(tmp_path / "none")
    with pytest.raises(UsageError, match=r"holds no model\.json"):
        study.load(tmp_path)
    with pytest.raises(UsageError, match="has no such run"):
        study.load("0" * 32)


def test_foreign_code_is_called_only_where_it_is_trusted(folder: Path) -> None:
    file = folder / "artifacts" / "repaired" / "model.json"
    stored = json.loads(file.read_text())
    stored["arguments"]["net"]["class"] = "tests.api.test_loading.nn.Sequential"
    file.unlink()  # another name of the file in the cache
    file.write_text(json.dumps(stored))
    seal(file.parent)
    with pytest.raises(UsageError, match=r"trust=\['tests.api.test_loading.nn.Sequential'\]"):
        study.load(folder)


def test_a_damaged_model_is_named_and_not_loaded(folder: Path) -> None:
    file = folder / "artifacts" / "repaired" / "repaired.safetensors"
    content = bytearray(file.read_bytes())
    content[-100] ^= 1
    file.write_bytes(content)
    with pytest.raises(UsageError, match=r"repaired\.safetensors is damaged: .* force=true") as refusal:
        study.load(folder)
    assert str(file) in str(refusal.value)
    assert run_job("+method=finetune", "method.epochs=1", "force=true", *FAST, name="again")[0] == "repaired"
    study.load(folder.parent / "again")


def test_an_exported_program_gives_the_same_logits_for_any_batch(folder: Path, tmp_path: Path) -> None:
    file = study.export(folder, tmp_path / "net.pt2")
    program = torch.export.load(file).module()
    model = study.load(folder)
    for count in (1, 7):
        assert torch.allclose(program(inputs(count)), model(inputs(count)), atol=1e-6)


def test_onnx_gives_the_same_answers(folder: Path, tmp_path: Path) -> None:
    runtime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    session = runtime.InferenceSession(study.export(folder, tmp_path / "net.onnx"))
    (name,) = [entry.name for entry in session.get_inputs()]
    for count in (1, 7):
        (logits,) = session.run(None, {name: inputs(count).numpy()})
        assert torch.allclose(torch.tensor(logits), study.load(folder)(inputs(count)), atol=1e-5)


def test_a_network_is_exported_with_an_example(tmp_path: Path) -> None:
    net = nn.Sequential(nn.Flatten(), nn.Linear(64, 2))
    with pytest.raises(UsageError, match="give a batch of inputs"):
        study.export(net, tmp_path / "net.pt2")
    with pytest.raises(UsageError, match=r"ends with \.onnx or \.pt2"):
        study.export(net, tmp_path / "net.bin", inputs(1))
    assert torch.export.load(study.export(net, tmp_path / "net.pt2", inputs(1))).module()(inputs(4)).shape == (4, 2)
