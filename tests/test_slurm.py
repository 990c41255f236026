"""Sweeps through sbatch, where a SLURM answers."""

from __future__ import annotations

import getpass
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from study.tracking.result import Result
from tests.processes import within
from tests.sleeping import SIGN

ROOT = Path(__file__).parents[1]
NEEDED = "STUDY_NEEDS_SLURM"
"""Set by `make test-slurm`, which asks for a SLURM: then it is a failure that there is none."""
NAME = "study-test"
SIZES = [
    "hydra.launcher.timeout_min=10",
    "hydra.launcher.mem_gb=2",
    "hydra.launcher.cpus_per_task=1",
    f"hydra.launcher.name={NAME}",
]
pytestmark = [pytest.mark.slurm, pytest.mark.timeout(900)]


def slurm_answers() -> bool:
    """Whether `sinfo` knows a node."""
    if shutil.which("sinfo") is None:
        return False
    told = subprocess.run(["sinfo", "--noheader"], capture_output=True, text=True, timeout=20)
    return told.returncode == 0 and bool(told.stdout.strip())


@pytest.fixture(autouse=True)
def slurm() -> None:
    if not slurm_answers():
        (pytest.fail if os.environ.get(NEEDED) else pytest.skip)("sinfo does not answer: there is no SLURM here")


def started(folder: Path, *arguments: str) -> subprocess.Popen[str]:
    """A sweep that is submitted."""
    known = {"STUDY_HOME": str(folder), "PYTHONPATH": f"{ROOT}:{os.environ.get('PYTHONPATH', '')}"}
    command = [sys.executable, "-m", "study", "-m", "hydra/launcher=submitit_slurm", "metric=fast", *SIZES, *arguments]
    return subprocess.Popen(
        command, cwd=folder, env=os.environ | known, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def told(sweep: subprocess.Popen[str]) -> tuple[int, str, str]:
    """Exit code, output and messages of a sweep when it ends."""
    output, messages = sweep.communicate(timeout=800)
    return sweep.returncode, output, messages


def results(folder: Path) -> list[Result]:
    return [Result.read(file.parent) for file in (folder / "multirun").rglob("result.json")]


def test_a_sweep_of_six_jobs_through_sbatch(tmp_path: Path) -> None:
    line = ["+method=finetune,reassure,arachne", "seed=0,1"]
    code, _, messages = told(started(tmp_path, *line))
    assert code == 0, messages
    assert len(results(tmp_path)) == 6
    assert {result.status for result in results(tmp_path)} == {"FINISHED"}
    assert len({result.tags["sweep"] for result in results(tmp_path)}) == 1
    assert list((tmp_path / "multirun").rglob("*submission.sh"))
    code, _, _ = told(started(tmp_path, *line))
    assert code == 0
    assert len(results(tmp_path)) == 6


@pytest.fixture
def with_a_sleeper(tmp_path: Path) -> Iterator[list[str]]:
    """The line of a sweep whose first job sleeps for minutes, the second of which is an ordinary one."""
    (tmp_path / "mine" / "method").mkdir(parents=True)
    (tmp_path / "mine" / "method" / "sleep.yaml").write_text("_target_: tests.sleeping.Sleeping\nmax_seconds: null\n")
    yield ["--config-dir", "mine", "+method=sleep,finetune", "method.max_seconds=1000", "faulty.epochs=4"]
    subprocess.run(["scancel", f"--name={NAME}", f"--user={getpass.getuser()}"], check=False)


def first_job(folder: Path, sweep: subprocess.Popen[str]) -> str:
    """The cluster's number of the job that sleeps, which does so by now."""
    assert within(300, lambda: bool(list(folder.glob(f"*{SIGN}"))) or sweep.poll() is not None)
    for sign in folder.glob(f"*{SIGN}"):
        sign.unlink()
    submitted = max((folder / "multirun").rglob("*_0_submitted.pkl"), key=lambda file: file.stat().st_mtime)
    return submitted.name.removesuffix("_submitted.pkl")


def test_a_job_that_is_cancelled_is_named_and_the_same_command_goes_on(
    tmp_path: Path, with_a_sleeper: list[str]
) -> None:
    sweep = started(tmp_path, *with_a_sleeper)
    job = first_job(tmp_path, sweep)
    subprocess.run(["scancel", job], check=True)
    code, output, messages = told(sweep)
    assert code == 1
    assert re.search(r"^2 jobs in .*: 1 lost, 1 repaired\.$", output, re.MULTILINE)
    (line,) = re.findall(r"^.*\+method=sleep .* was lost: (.*)$", output, re.MULTILINE)
    assert re.match(rf"CANCELLED.* \(job {job} of the cluster\); its log is {tmp_path}/multirun/.*log\.err$", line)
    assert "Traceback" not in output + messages
    assert "The same command goes on from here" in output
    assert [result.tags["outcome"] for result in results(tmp_path)] == ["repaired"]
    again = started(tmp_path, *with_a_sleeper)
    subprocess.run(["scancel", first_job(tmp_path, again)], check=True)
    assert "1 lost, 1 finished before" in told(again)[1]


def test_a_job_that_is_out_of_time_is_named(tmp_path: Path, with_a_sleeper: list[str]) -> None:
    code, output, messages = told(started(tmp_path, *with_a_sleeper, "hydra.launcher.timeout_min=2"))
    assert code == 1
    assert "Traceback" not in output + messages
    assert re.search(r"^2 jobs in .*: 1 lost, 1 repaired\.$", output, re.MULTILINE)
    said = "it ran out of time, see hydra.launcher.timeout_min"
    assert re.search(
        rf"^.*\+method=sleep .* was lost: {said} \(job \S+ of the cluster\); its log", output, re.MULTILINE
    )
