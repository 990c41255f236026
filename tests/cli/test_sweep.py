"""A multirun from the first line to the last, whole, with a crash, and cut off."""

from __future__ import annotations

import gc
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient
from omegaconf import OmegaConf

import study.job
from study.cli.logbook import Logbook
from study.cli.sweep import JobsProgress, Sweep, number_of_jobs
from study.data.split import Split
from study.tracking.result import Result
from study.tracking.store import Store
from tests.commands import FAST

Study = Callable[..., tuple[int, str]]
FINETUNE = ("+method=finetune", "method.epochs=2")


@pytest.fixture
def study_(program: Callable[..., tuple[int, str, str]], tmp_path: Path) -> Study:
    """The program beside an approach that crashes: its exit code and stdout."""
    method = tmp_path / "mine" / "method"
    method.mkdir(parents=True)
    (method / "crash.yaml").write_text("_target_: tests.crashing.Crashing\nmax_seconds: null\n")
    return lambda *arguments: program(*arguments)[:2]


def test_each_job_says_where_it_stands_and_the_end_what_became_of_them(study_: Study, tmp_path: Path) -> None:
    code, told = study_("-m", *FINETUNE, "seed=0,1,2")
    assert code == 0
    lines = told.splitlines()
    assert re.fullmatch(r"3 jobs, in multirun/\S+", lines[0])
    places = [line for line in lines if line.startswith("job ")]
    assert places[0] == "job 1 of 3: finetune digits s0"
    assert re.fullmatch(r"job 2 of 3, about \d+ s left: finetune digits s1", places[1])
    assert re.fullmatch(r"job 3 of 3, about \d+ s left: finetune digits s2", places[2])
    assert re.fullmatch(r"3 jobs in \d+ s: 3 repaired\.", lines[-2])
    assert lines[-1] == "Compare: python -m study.report"
    assert "HYDRA" not in told and "Launching" not in told
    code, told = study_("-m", *FINETUNE, "seed=0,1")
    assert re.fullmatch(r"2 jobs in \d+ s: 2 finished before\.", told.splitlines()[-2])
    assert "job 2 of 2: finetune digits s1" in told  # what was skipped is no measure of time


def test_a_sweep_goes_on_after_a_crash_ends_with_1_names_it_and_reruns_only_that(study_: Study, tmp_path: Path) -> None:
    line = "-m", "--config-dir", "mine", "+method=crash,finetune", "method.max_seconds=100"
    code, told = study_(*line)
    assert code == 1
    assert re.search(r"2 jobs in \d+ s: 1 crashed, 1 repaired\.\ncrash digits s0 crashed: ArithmeticError: ", told)
    assert "The same command goes on from here" in told
    results = [Result.read(file.parent) for file in sorted((tmp_path / "multirun").rglob("result.json"))]
    assert [result.status for result in results] == ["FAILED", "FINISHED"]
    (trace,) = (tmp_path / "multirun").rglob("traceback.txt")
    assert "the approach is broken" in trace.read_text()
    code, told = study_(*line)
    assert code == 1
    assert "finetune digits s0: finished already" in told and "1 crashed, 1 finished before" in told


def test_what_the_store_does_not_take_is_counted_and_recorded_by_the_same_command(
    study_: Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    line = "-m", *FINETUNE, "seed=0,1"
    measure, measured = study.job.measure, []
    monkeypatch.setattr(study.job, "measure", lambda *arguments: measured.append(1) or measure(*arguments))
    with monkeypatch.context() as patch:
        patch.setattr(MlflowClient, "create_run", refused)
        code, told = study_(*line)
        assert code == 1
        assert re.search(r"2 jobs in \d+ s: 2 not recorded\.\n2 not recorded: sqlite:.*: .*Input/output error\n", told)
        assert "The same command goes on from here" in told and "Compare" not in told
        assert study_(*line)[0] == 1  # and again: not done as long as it is not in the store
    code, told = study_(*line)
    assert code == 0 and "2 finished before." in told
    assert len(measured) == 2
    assert len(Store().recorded()) == 2


def test_a_single_job_that_the_store_does_not_take_ends_with_1(
    study_: Study, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(MlflowClient, "create_run", refused)
        assert study_(*FINETUNE)[0] == 1
    assert len(list((tmp_path / "multirun").rglob("result.json"))) == 1
    assert study_(*FINETUNE)[0] == 0
    assert len(Store().recorded()) == 1


def test_a_crash_that_the_store_does_not_take_ends_no_sweep(study_: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(MlflowClient, "create_run", refused)
        line = "--config-dir", "mine", "+method=crash,finetune", "method.max_seconds=100"
        code, told = study_("-m", *line)
    assert code == 1
    assert re.search(r"2 jobs in \d+ s: 1 crashed, 1 not recorded\.", told)


def refused(*_: object, **__: object) -> None:
    raise OSError(5, "Input/output error")


def test_fail_fast_leaves_the_jobs_after_a_crash(study_: Study, tmp_path: Path) -> None:
    line = "--config-dir", "mine", "+method=crash,finetune", "method.max_seconds=100", "seed=0,1", "fail_fast=true"
    code, told = study_("-m", *line)
    assert code == 1
    assert re.search(r"4 jobs in \d+ s: 1 crashed, 3 not run\.", told)
    (result,) = (tmp_path / "multirun").rglob("result.json")
    assert Result.read(result.parent).status == "FAILED"


def test_a_multirun_that_is_cut_off_is_summed_up(study_: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    run, ran = study.job.run, []

    def interrupted(*arguments: Any) -> str:
        if ran:
            raise KeyboardInterrupt
        ran.append(1)
        return run(*arguments)

    monkeypatch.setattr(study.job, "run", interrupted)
    code, told = study_("-m", *FINETUNE, "seed=0,1,2,3")
    assert code == 130
    assert re.fullmatch(r"4 jobs in \d+ s: 1 repaired, 1 unfinished, 2 not run\.", told.splitlines()[-1])
    assert Sweep.running is None


@pytest.mark.parametrize("line", ["hydra.sweep.subdir=all", "hydra/launcher=joblib hydra.launcher.n_jobs=0"])
def test_what_would_stop_the_launcher_is_said_before_anything_runs(line: str, study_: Study, tmp_path: Path) -> None:
    assert study_("-m", "+method=finetune", "seed=0,1", *line.split()) == (2, "")
    assert not (tmp_path / "multirun").exists()


def test_no_job_leaves_its_data_to_the_next(study_: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    """Python's own search for garbage is off: it comes late where there is much in memory, which a test has not."""
    run, live = study.job.run, []

    def counted(*arguments: Any) -> str:
        live.append(sum(type(one) is Split for one in gc.get_objects()))
        return run(*arguments)

    monkeypatch.setattr(study.job, "run", counted)
    gc.collect()
    gc.disable()
    try:
        code, _ = study_("-m", "+method=finetune,arachne", "seed=0,1", "dataset.limit=100", "subject.seed=0")
    finally:
        gc.enable()
    assert code == 0
    assert len(live) == 4 and set(live) == {live[0]}


def sweep_of_processes(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "study", "-m", "+method=finetune", *FAST, *arguments]
    environment = os.environ | {"STUDY_HOME": str(folder)}
    told = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=240)
    assert told.returncode == 0, told.stderr
    return told


@pytest.mark.slow
def test_jobs_in_parallel_processes_know_their_place_and_label_their_lines(tmp_path: Path) -> None:
    told = sweep_of_processes(tmp_path, "seed=0,1,2", "hydra/launcher=joblib", "hydra.launcher.n_jobs=2")
    assert re.search(r"^job 3 of 3, about \d+ s left: finetune digits s2$", told.stdout, re.MULTILINE)
    for number in (1, 2, 3):
        assert f"job {number}: finetune digits s{number - 1}: repaired" in told.stdout
    assert re.search(r"^3 jobs in \d+ s: 3 repaired\.$", told.stdout, re.MULTILINE)


@pytest.mark.slow
def test_jobs_that_write_into_files_are_waited_for_with_a_bar(tmp_path: Path) -> None:
    told = sweep_of_processes(tmp_path, "seed=0,1", "hydra/launcher=submitit_local", "trainer.progress=true")
    assert "run the jobs:   0%|" in told.stderr and "0/2 jobs" in told.stderr
    assert "2 repaired." in told.stdout


def test_who_waits_for_jobs_elsewhere_sees_how_many_have_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("study.cli.sweep.READ_EVERY", 0.0)
    logbook = Logbook(tmp_path)
    logbook.open(3)
    waiting = JobsProgress(logbook, 3)
    first, _ = logbook.start(0, "first"), logbook.start(1, "second")
    assert waiting.position() == (0, 3)
    logbook.end(first, "repaired")
    assert waiting.position() == (1, 3)


def test_a_single_job_has_no_place(study_: Study) -> None:
    code, told = study_(*FINETUNE)
    assert code == 0
    assert not [line for line in told.splitlines() if line.startswith(("job", "1 job", "Compare"))]


@pytest.mark.parametrize(
    ("overrides", "sweeper", "jobs"),
    [
        (["+method=arachne,joint", "seed=range(3)", "dataset=digits"], {}, 6),
        (["+method=arachne"], {}, 1),
        (["seed=0,1"], {"params": {"method": "arachne,joint"}}, 4),
        (["seed=range(3)"], {"_target_": "some.OptunaSweeper", "n_trials": 20}, 20),
        (["seed=range(3)"], {"_target_": "some.Sweeper"}, None),
    ],
)
def test_the_number_of_jobs_is_known_beforehand(
    overrides: list[str], sweeper: dict[str, Any], jobs: int | None
) -> None:
    basic = {"_target_": "hydra._internal.core_plugins.basic_sweeper.BasicSweeper", "params": None}
    hydra = OmegaConf.create({"sweeper": basic | sweeper, "overrides": {"task": overrides}})
    assert number_of_jobs(hydra) == jobs
