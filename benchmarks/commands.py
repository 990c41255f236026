"""What the command line costs beside the work of its jobs, in CPU seconds: those of a busy machine say little less."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import time
from pathlib import Path

TINY = ("metric=fast", "faulty.epochs=1", "subject.seed=0", "trainer.threads=1", "trainer.progress=false")
"""A job on digits that measures the faulty model and does nothing else."""
FEW, MANY = 2, 12


def measure_commands(home: Path) -> dict[str, float]:
    """CPU seconds of commands of one thread; of many jobs, those that each one adds to the first."""
    job = ("+method=finetune", "method.epochs=1", *TINY)
    spent(job, home)
    time.sleep(1.5)  # the note of a key is left of files that have settled
    few, many = (spent(("-m", f"seed=range({count})", "force=true", *TINY), home) for count in (FEW, MANY))
    plans = [spent(("-m", "plan=true", f"seed=range({count})", *job), home) for count in (1, 1000)]
    return {
        "--help, CPU seconds": spent(("--help",), home),
        "job that is finished already, CPU seconds": spent(job, home),
        "plan of 1,000 jobs, CPU seconds beyond those of one": plans[1] - plans[0],
        "tiny job of a sweep, CPU seconds": (many - few) / (MANY - FEW),
    }


def spent(arguments: tuple[str, ...], home: Path) -> float:
    """CPU seconds, of the user and the system, of `python -m study` with these arguments."""
    environment = os.environ | {"STUDY_HOME": str(home), "OMP_NUM_THREADS": "1"}
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    command = [sys.executable, "-m", "study", *arguments]
    subprocess.run(command, check=True, env=environment, stdout=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


if __name__ == "__main__":
    for title, value in measure_commands(Path(sys.argv[1])).items():
        print(f"{title}: {value:.2f}")
