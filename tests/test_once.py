"""A job is measured once and recorded once, wherever it is cut off and whatever the store does."""

from __future__ import annotations

from pathlib import Path

import pytest

import study.job
from study.errors import NotRecorded
from study.record import main as record
from study.report.runs import local_store, read
from study.storage.paths import multirun
from study.tracking import ledger
from study.tracking.result import Result
from study.tracking.store import Store
from tests.commands import FAST, finished_keys, run_job
from tests.deaths import die, killed

LINE = ("+method=finetune", "method.epochs=1", *FAST)


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Which jobs were measured in this process."""
    measure, names = study.job.measure, []

    def counted(job: study.job.Job, *arguments: object) -> object:
        names.append(job.names.run)
        return measure(job, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(study.job, "measure", counted)
    return names


def test_a_job_killed_between_its_result_and_the_store_is_recorded_and_not_measured_again(
    store: Path, measured: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(Store, "write", die)
        killed(lambda: run_job(*LINE, name="killed"))
    result = Result.read(multirun() / "killed")

    outcome, _ = run_job(*LINE, name="again")

    assert (outcome, measured) == ("skipped", [])
    assert finished_keys() == [result.key]
    assert not (multirun() / "again" / "result.json").exists()
    assert record([]) == 0
    assert finished_keys() == [result.key]
    assert len(read(local_store(), "study")) == 1


def test_a_job_killed_before_its_result_entered_the_ledger_is_recorded_once(
    store: Path, measured: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(ledger, "enter", die)
        killed(lambda: run_job(*LINE, name="killed"))

    outcome, folder = run_job(*LINE, name="again")

    assert outcome == "repaired" and len(measured) == 1
    again, before = Result.read(folder), Result.read(multirun() / "killed")
    assert again.key == before.key
    assert again.metrics["after/accuracy"] == before.metrics["after/accuracy"]
    assert record([]) == 0
    assert finished_keys() == [again.key]


def test_a_result_that_the_store_does_not_take_is_recorded_by_the_same_command(
    store: Path, measured: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from mlflow import MlflowClient

    with monkeypatch.context() as patch:
        patch.setattr(MlflowClient, "create_run", _refused)
        for _ in range(2):
            with pytest.raises(NotRecorded, match="Input/output error"):
                run_job(*LINE)
    assert len(measured) == 1

    assert run_job(*LINE)[0] == "skipped"

    assert len(measured) == 1 and len(finished_keys()) == 1


def test_a_forced_job_takes_the_place_of_the_older_one(store: Path, measured: list[str]) -> None:
    first = run_job(*LINE, name="first")[1]
    second = run_job(*LINE, "force=true", name="second")[1]
    key = Result.read(first).key

    assert len(measured) == 2
    assert finished_keys() == [key]
    assert Store().recorded() == {(key, round(Result.read(second).started * 1000))}
    assert ledger.folder_of(key) == second
    assert record([]) == 0
    assert Store().recorded() == {(key, round(Result.read(second).started * 1000))}


def _refused(*_: object, **__: object) -> None:
    raise OSError(5, "Input/output error")
