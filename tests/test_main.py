"""`python -m study` as a process: exit codes, what is written, and a folder that is not the repository."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from study.tracking.result import Result
from tests.commands import FAST


def study(folder: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the command line in `folder`."""
    command = [sys.executable, "-m", "study", *arguments]
    known = {name: value for name, value in os.environ.items() if not name.startswith("STUDY_")}
    return subprocess.run(command, cwd=folder, env=known | environment, capture_output=True, text=True, timeout=240)


def test_help_is_short_and_needs_no_torch(tmp_path: Path) -> None:
    told = study(tmp_path, "--help", PYTHONPROFILEIMPORTTIME="1")
    assert told.returncode == 0
    assert "python -m study +method=arachne" in told.stdout and "dataset: " in told.stdout
    assert len(told.stdout.splitlines()) < 40
    assert " torch\n" not in told.stderr
    assert not any(tmp_path.iterdir())


def test_a_mistake_ends_with_2_and_writes_nothing(tmp_path: Path) -> None:
    told = study(tmp_path, "-m", "+method=finetune", "seed=0,x", *FAST)
    assert told.returncode == 2
    assert told.stderr.startswith("study: seed=x: input should be a valid integer")
    assert len(told.stderr.strip().splitlines()) == 1
    assert not any(tmp_path.iterdir())


def test_a_sweep_goes_on_after_a_crash_ends_with_1_and_reruns_only_that(tmp_path: Path) -> None:
    (tmp_path / "mine" / "method").mkdir(parents=True)
    (tmp_path / "mine" / "method" / "crash.yaml").write_text("_target_: tests.crashing.Crashing\nmax_seconds: null\n")
    line = ["-m", "--config-dir", "mine", "+method=crash,finetune", "method.max_seconds=100", *FAST]
    path = {"PYTHONPATH": str(Path(__file__).parents[1])}
    told = study(tmp_path, *line, **path)
    assert told.returncode == 1, told.stderr
    assert "1 crashed, 1 repaired" in told.stdout
    results = [Result.read(file.parent) for file in sorted((tmp_path / "multirun").rglob("result.json"))]
    assert [result.status for result in results] == ["FAILED", "FINISHED"]
    (trace,) = (tmp_path / "multirun").rglob("traceback.txt")
    assert "the approach is broken" in trace.read_text()
    again = study(tmp_path, *line, **path)
    assert again.returncode == 1
    assert "finetune digits s0: finished already" in again.stdout and "1 crashed." in again.stdout


def test_plan_lists_the_jobs_and_writes_nothing(tmp_path: Path) -> None:
    told = study(tmp_path, "-m", "+method=finetune,reassure", "architecture.widths=[]", "plan=true", *FAST)
    assert told.returncode == 0, told.stderr
    finetune, reassure = told.stdout.strip().splitlines()
    assert finetune.endswith("finetune digits s0  to do")
    assert "reassure digits s0  unadaptable: " in reassure
    assert not any(tmp_path.iterdir())


def test_ctrl_c_ends_a_multirun_at_once(tmp_path: Path) -> None:
    line = ["-m", "+method=finetune", "seed=0,1", "method.epochs=10000", "metric=fast", "trainer.threads=1"]
    process = subprocess.Popen(
        [sys.executable, "-m", "study", *line],
        cwd=tmp_path,
        env=os.environ | {"STUDY_HOME": str(tmp_path)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # Where the tests run in the background SIGINT is ignored, and processes would inherit that.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    assert process.stdout is not None
    try:
        for text in process.stdout:
            if "repairing" in text:
                break
        time.sleep(1)
        process.send_signal(signal.SIGINT)
        start = time.monotonic()
        _, errors = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 130
    assert "interrupted" in errors
    assert time.monotonic() - start < 30
    assert not list((tmp_path / ".cache" / "repairs").glob("*/repair.json"))


@pytest.mark.slow
def test_a_sweep_in_parallel_processes_shares_one_faulty_model(tmp_path: Path) -> None:
    line = ["-m", "+method=finetune", "seed=0,1,2,3", "subject.seed=0", "hydra/launcher=joblib", "method.epochs=1"]
    told = study(tmp_path, *line, "metric=fast", "faulty.epochs=4")
    assert told.returncode == 0, told.stderr
    assert "4 repaired" in told.stdout
    assert len(list((tmp_path / ".cache" / "faulty").glob("*/faulty.safetensors"))) == 1
