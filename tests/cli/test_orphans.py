"""Jobs in processes of their own end with the process that the user started."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.commands import FAST
from tests.processes import is_alive, within
from tests.sleeping import SIGN

ROOT = Path(__file__).parents[2]


@pytest.mark.usefixtures("store")
def test_no_worker_computes_on_when_a_parallel_multirun_is_killed(tmp_path: Path) -> None:
    (tmp_path / "mine" / "method").mkdir(parents=True)
    (tmp_path / "mine" / "method" / "sleep.yaml").write_text("_target_: tests.sleeping.Sleeping\nmax_seconds: null\n")
    line = ["-m", "--config-dir", "mine", "+method=sleep", "seed=0,1", "hydra/launcher=joblib", *FAST]
    known = {"STUDY_HOME": str(tmp_path), "PYTHONPATH": f"{ROOT}:{os.environ.get('PYTHONPATH', '')}"}
    with (tmp_path / "messages").open("w") as output:
        parent = subprocess.Popen(
            [sys.executable, "-m", "study", *line], cwd=tmp_path, env=os.environ | known, stdout=output, stderr=output
        )
    try:
        started = within(120, lambda: len(list(tmp_path.glob(f"*{SIGN}"))) == 2 or parent.poll() is not None)
    finally:
        parent.kill()
        parent.wait(10)
    assert started, (tmp_path / "messages").read_text()
    workers = [int(file.stem) for file in tmp_path.glob(f"*{SIGN}")]
    assert len(workers) == 2 and parent.pid not in workers, (tmp_path / "messages").read_text()
    assert within(5, lambda: not any(map(is_alive, workers)))
