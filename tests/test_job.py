"""One job, end to end: its record, what is reused, and that it is the same wherever it runs."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet
import pytest
import torch
from mlflow import MlflowClient
from safetensors.torch import load_file

from study import job as job_module
from study.repairs import cache as cache_module
from study.storage.checksums import seal
from study.storage.models import load_model
from study.storage.paths import cache, mlruns
from study.tracking.result import Result
from tests.commands import FAST, prepared, result_of, run_job

pytestmark = pytest.mark.usefixtures("store")
LINE = ("+method=finetune", "method.epochs=2", *FAST)


def runs() -> list:
    """All runs of the temporary store."""
    client = MlflowClient(f"sqlite:///{mlruns() / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("study")
    return [] if experiment is None else list(client.search_runs([experiment.experiment_id]))


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


def test_a_job_records_what_changed() -> None:
    outcome, folder = run_job(*LINE)
    result = Result.read(folder)
    assert outcome == "repaired"
    values = result.metrics
    change = values["after/accuracy"] - values["before/accuracy"]
    rate, flips = values["after/repair_rate"], values["after/negative_flip_rate"]
    assert change == pytest.approx(rate * (1 - values["before/accuracy"]) - flips, abs=1e-6)
    assert values["time/repair"] > 0 and values["cost/steps"] > 0
    (run,) = runs()
    assert run.info.status == "FINISHED"
    assert run.data.tags["method"] == "finetune" and run.data.tags["outcome"] == "repaired"
    assert run.data.metrics["after/accuracy"] == pytest.approx(values["after/accuracy"])
    assert run.data.params["method.epochs"] == "2"
    artifacts = folder / "artifacts"
    rows = pyarrow.parquet.read_table(artifacts / "predictions.parquet").to_pydict()
    right = [after == label for after, label in zip(rows["after"], rows["label"], strict=True)]
    assert sum(right) / len(right) == pytest.approx(values["after/accuracy"])
    assert (artifacts / "confusion.png").stat().st_size > 1000
    tables = [(artifacts / f"{name}.csv").read_text().splitlines() for name in ("classes", "failing_pairs")]
    repaired = [
        sum(int(line.split(",")[column]) for line in lines[1:]) for column, lines in zip((4, 3), tables, strict=True)
    ]
    assert repaired == [values["after/repaired_inputs"]] * 2
    layers = [line.split(",") for line in (artifacts / "layers.csv").read_text().splitlines()[1:]]
    weights = [int(layer[1]) for layer in layers]
    changed = sum(float(layer[2]) * number for layer, number in zip(layers, weights, strict=True))
    assert changed / sum(weights) == pytest.approx(values["cost/weights_changed"], abs=1e-5)
    assert values["time/repair_cpu"] > 0
    assert values["low/accuracy"] < values["after/accuracy"] < values["high/accuracy"]
    assert json.loads((artifacts / "environment.json").read_text())["threads"] == 1


def test_the_stored_model_gives_the_recorded_answers() -> None:
    _, folder = run_job(*LINE)
    (job,) = prepared(*LINE)
    job.data.load(0)
    model = load_model(folder / "artifacts" / "repaired")
    answers = model(job.data.splits["test"].tensors().inputs).argmax(1)
    recorded = pyarrow.parquet.read_table(folder / "artifacts" / "predictions.parquet")["after"].to_pylist()
    assert answers.tolist() == recorded


def test_nothing_is_repaired_twice(repairs: list[str]) -> None:
    assert run_job(*LINE)[0] == "repaired"
    assert run_job(*LINE, name="again")[0] == "skipped"
    assert run_job(*LINE, "~metric.comparisons.aaod", name="other")[0] == "repaired"
    assert repairs == ["Finetune"]
    assert len(runs()) == 2
    assert run_job(*LINE, "force=true", name="forced")[0] == "repaired"
    assert repairs == ["Finetune", "Finetune"]
    assert len(runs()) == 2  # it takes the place of the first


def test_what_is_finished_is_recorded_in_another_store_and_not_run(
    tmp_path: Path, empty_store: Path, repairs: list[str]
) -> None:
    run_job(*LINE)
    (tmp_path / "other").mkdir()
    shutil.copy(empty_store, tmp_path / "other" / "mlflow.db")
    assert run_job(*LINE, f"tracking.uri=sqlite:///{tmp_path}/other/mlflow.db", name="again")[0] == "skipped"
    client = MlflowClient(f"sqlite:///{tmp_path}/other/mlflow.db")
    experiment = client.get_experiment_by_name("study")
    assert experiment is not None and len(client.search_runs([experiment.experiment_id])) == 1
    assert repairs == ["Finetune"]


def test_the_same_seed_agrees_bit_for_bit_in_two_homes(
    tmp_path: Path, empty_store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = []
    for name in ("one", "two"):
        (tmp_path / name / "mlruns").mkdir(parents=True)
        shutil.copy(empty_store, tmp_path / name / "mlruns" / "mlflow.db")
        monkeypatch.setenv("STUDY_HOME", str(tmp_path / name))
        result = result_of(*LINE)
        weights = load_file(next((cache() / "repairs").glob("*/repaired.safetensors")))
        steady = {key: value for key, value in result.metrics.items() if not key.startswith(("time/", "cost/peak"))}
        told.append((weights, steady))
    (weights, metrics), (again, metrics_again) = told
    assert metrics == metrics_again
    assert all(torch.equal(weights[name], again[name]) for name in weights)


def test_without_a_method_the_faulty_model_is_measured_alone() -> None:
    result = result_of(*FAST)
    assert result.tags["outcome"] == "faulty" and result.tags["method"] == "none"
    assert "before/accuracy" in result.metrics
    assert not any(name.startswith(("after/", "gain/", "time/repair")) for name in result.metrics)


def test_unadaptable_is_a_result_and_trains_nothing() -> None:
    result = result_of("+method=reassure", "architecture.widths=[]", *FAST)
    assert result.status == "FINISHED" and result.tags["outcome"] == "unadaptable"
    assert "ReLU" in result.tags["reason"]
    assert not (cache() / "faulty").exists()


def test_a_budget_that_is_too_small_ends_as_corrupted() -> None:
    result = result_of("+method=finetune", "method.epochs=10000", "method.max_seconds=0.2", *FAST)
    assert result.tags["outcome"] == "corrupted"
    assert "0.2 s" in result.tags["reason"]
    assert "after/accuracy" not in result.metrics


def test_a_model_that_errs_on_no_repair_input_is_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    posed = job_module.problem_of

    def flawless(job, keys, splits):  # type: ignore[no-untyped-def]
        problem = posed(job, keys, splits)
        object.__setattr__(problem, "failing", problem.failing[:0])
        return problem

    monkeypatch.setattr(job_module, "problem_of", flawless)
    result = result_of(*LINE)
    assert result.status == "FINISHED" and result.tags["outcome"] == "failure"
    assert result.tags["reason"] == "the model errs on no repair input"


def test_a_reused_repair_of_other_code_is_tagged(caplog: pytest.LogCaptureFixture) -> None:
    run_job(*LINE)
    (file,) = (cache() / "repairs").glob("*/repair.json")
    file.write_text(json.dumps(json.loads(file.read_text()) | {"code": "older"}))
    seal(file.parent)
    result = result_of(*LINE, "~metric.comparisons.aaod", name="again")
    assert result.tags["code_changed"] == "true"
    assert "other code" in caplog.text
