"""A sweep through sbatch, where a SLURM answers."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from study.tracking.result import Result


def slurm_answers() -> bool:
    """Whether `sinfo` knows a node."""
    if shutil.which("sinfo") is None:
        return False
    told = subprocess.run(["sinfo", "--noheader"], capture_output=True, text=True, timeout=20)
    return told.returncode == 0 and bool(told.stdout.strip())


@pytest.mark.slurm
@pytest.mark.timeout(900)
def test_a_sweep_of_six_jobs_through_sbatch(tmp_path: Path) -> None:
    if not slurm_answers():
        pytest.skip("sinfo does not answer: there is no SLURM here")
    line = ["-m", "+method=finetune,reassure,arachne", "seed=0,1", "hydra/launcher=submitit_slurm", "metric=fast"]
    sizes = ["hydra.launcher.timeout_min=10", "hydra.launcher.mem_gb=2", "hydra.launcher.cpus_per_task=1"]
    environment = os.environ | {"STUDY_HOME": str(tmp_path)}
    command = [sys.executable, "-m", "study", *line, *sizes]
    told = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=800)
    assert told.returncode == 0, told.stderr
    results = [Result.read(file.parent) for file in (tmp_path / "multirun").rglob("result.json")]
    assert len(results) == 6
    assert {result.status for result in results} == {"FINISHED"}
    assert len({result.tags["sweep"] for result in results}) == 1
    assert list((tmp_path / "multirun").rglob("*submission.sh"))
    again = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=800)
    assert again.returncode == 0
    assert len(list((tmp_path / "multirun").rglob("result.json"))) == 6
