"""`python -m benchmarks.memory`: how much memory a sweep in one process holds as job after job ends, on MNIST."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

JOBS = 50
APPROACHES = ("reassure_soft", "arachne")


def measure_memory(home: Path, jobs: int = JOBS) -> list[float]:
    """Memory (MiB) that the process of a sweep holds at the start of each of its jobs but the first."""
    line = ["-m", f"+method={','.join(APPROACHES)}", "dataset=mnist", "metric=fast", "subject.seed=0"]
    line += [f"seed=range({jobs // len(APPROACHES)})"]
    sweep = subprocess.Popen(
        [sys.executable, "-m", "study", *line],
        env=os.environ | {"STUDY_HOME": str(home)},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert sweep.stdout is not None
    starts = (text for text in sweep.stdout if re.match(r"job \d+ of ", text))
    held = [resident(sweep.pid) for _ in starts]
    if sweep.wait():
        raise RuntimeError(f"the sweep ended with {sweep.returncode}")
    return held[1:]


def resident(process: int) -> float:
    """Memory that a process holds, in MiB; Linux alone tells."""
    pages = int(Path(f"/proc/{process}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        held = measure_memory(Path(folder))
    print(f"MiB held after job 1: {held[0]:.0f}, after job {len(held)}: {held[-1]:.0f}, at most: {max(held):.0f}")
