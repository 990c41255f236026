"""A job is measured once and recorded once, wherever it is cut off and whatever the store does."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
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
from tests.commands import FAST, run_job

LINE = ("+method=finetune", "method.epochs=1", *FAST)


def finished() -> list[str]:
    """The keys of the FINISHED runs in the home's store."""
    from mlflow import MlflowClient

    client = MlflowClient(Store().uri)
    runs = client.search_runs([client.get_experiment_by_name("study").experiment_id])
    return [run.data.tags["key"] for run in runs if run.info.status == "FINISHED"]


def killed(work: Callable[[], object]) -> None:
    """Do it in a child process, which has to be killed in it."""
    child = os.fork()
    if child == 0:
        try:
            work()
        finally:
            os._exit(0)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL


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
        patch.setattr(Store, "write", lambda *_, **__: os.kill(os.getpid(), signal.SIGKILL))
        killed(lambda: run_job(*LINE, name="killed"))
    result = Result.read(multirun() / "killed")

    outcome, _ = run_job(*LINE, name="again")

    assert (outcome, measured) == ("skipped", [])
    assert finished() == [result.key]
    assert not (multirun() / "again" / "result.json").exists()
    assert record([]) == 0
    assert finished() == [result.key]
    assert len(read(local_store(), "study")) == 1


def test_a_job_killed_before_its_result_entered_the_ledger_is_recorded_once(
    store: Path, measured: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(ledger, "enter", lambda *_: os.kill(os.getpid(), signal.SIGKILL))
        killed(lambda: run_job(*LINE, name="killed"))

    outcome, folder = run_job(*LINE, name="again")

    assert outcome == "repaired" and len(measured) == 1
    again, before = Result.read(folder), Result.read(multirun() / "killed")
    assert again.key == before.key
    assert again.metrics["after/accuracy"] == before.metrics["after/accuracy"]
    assert record([]) == 0
    assert finished() == [again.key]


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

    assert len(measured) == 1 and len(finished()) == 1


def test_a_forced_job_takes_the_place_of_the_older_one(store: Path, measured: list[str]) -> None:
    first = run_job(*LINE, name="first")[1]
    second = run_job(*LINE, "force=true", name="second")[1]
    key = Result.read(first).key

    assert len(measured) == 2
    assert finished() == [key]
    assert Store().recorded() == {(key, round(Result.read(second).started * 1000))}
    assert ledger.folder_of(key) == second
    assert record([]) == 0
    assert Store().recorded() == {(key, round(Result.read(second).started * 1000))}


def _refused(*_: object, **__: object) -> None:
    raise OSError(5, "Input/output error")
