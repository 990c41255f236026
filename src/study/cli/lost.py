"""Jobs that a cluster lost (scancel, the time limit, a node that failed): noted, and not the end of the others."""

from __future__ import annotations

import math
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from hydra.core.utils import JobReturn, JobStatus

from study.cli.logbook import Logbook

if TYPE_CHECKING:
    from submitit import Job

ASK_EVERY = 30.0
"""Seconds between two questions to the queue."""
PATIENCE = 15.0
"""Seconds after the end of a job in which its result may still appear on a shared file system."""

UNSAID = ("UNKNOWN", "PENDING", "RUNNING", "COMPLETING", "REQUEUED")
"""States that a job which has ended is only said to be in where SLURM keeps no accounts."""
OUT_OF_TIME = "it ran out of time, see hydra.launcher.timeout_min"


def is_stop(error: BaseException) -> bool:
    """Whether an exception in a job is what submitit raises there when the job comes near its time limit."""
    return type(error).__module__.startswith("submitit.")


@contextmanager
def survived(logbook: Logbook) -> Iterator[None]:
    """Inside, submitit's launcher notes a job without a result in the logbook, and waits for the others.

    Of its own it asks for one job's result after the other and raises at the first that has none. It offers no place
    to catch that, so it is the jobs' own method that is replaced for the time being.
    """
    from submitit import Job
    from submitit.core.utils import UncompletedJobError

    waited = Job.results

    def results(job: Job[Any]) -> list[Any]:
        if not _comes_to_an_end(job):
            return [_noted(job, logbook, _told(job))]
        try:
            (result,) = waited(job)
        except UncompletedJobError as error:
            return [_noted(job, logbook, _told(job, error))]
        if result.status == JobStatus.FAILED:  # an exception where no job's own crash is recorded yet
            ending = result._return_value
            said = OUT_OF_TIME if is_stop(ending) else f"{type(ending).__name__}: {ending}".splitlines()[0]
            return [_noted(job, logbook, said)]
        return [result]

    Job.results = results  # type: ignore[method-assign, assignment]
    try:
        yield
    finally:
        Job.results = waited  # type: ignore[method-assign]


def _comes_to_an_end(job: Job[Any]) -> bool:
    """Wait for a job; False if it left the queue and no result comes.

    submitit asks `sacct`, ever more rarely, and for ever where SLURM keeps no accounts or has none of this job.
    """
    due = time.monotonic() + ASK_EVERY
    while not job.done():
        if time.monotonic() >= due:
            if not is_queued(job):
                return _appears(job)
            due = time.monotonic() + ASK_EVERY
        time.sleep(1)
    return True


def is_queued(job: Job[Any]) -> bool:
    """Whether a job waits or runs, as far as SLURM answers; a job that is not one of SLURM's always does."""
    from submitit import SlurmJob

    if not isinstance(job, SlurmJob):
        return True
    told = subprocess.run(["squeue", "--noheader", "--jobs", job.job_id], capture_output=True, text=True)
    if told.returncode:
        return "Invalid job id" not in told.stderr  # it forgets a job some minutes after its end
    return bool(told.stdout.strip())


def _appears(job: Job[Any]) -> bool:
    deadline = time.monotonic() + PATIENCE
    while not (there := job.paths.result_pickle.exists()) and time.monotonic() < deadline:
        time.sleep(1)
    return there


def _noted(job: Job[Any], logbook: Logbook, state: str) -> JobReturn:
    """Write a lost job down; what the launcher returns in place of its result."""
    overrides, _, number, *_ = job.submission().args
    logs = [path for path in (job.paths.stderr, job.paths.stdout) if path.exists()]
    said = f"its log is {logs[0]}" if logs else "it never started, and has no log"
    logbook.lose(number, " ".join(overrides), f"{state} (job {job.job_id} of the cluster); {said}")
    score = -math.inf  # for a search; a grid does not look at it
    return JobReturn(overrides=overrides, status=JobStatus.COMPLETED, _return_value=score)


def _told(job: Job[Any], error: Exception | None = None) -> str:
    """What became of a job: the exception it ended with, where it could still say so, or else the cluster's word."""
    from submitit.core.utils import FailedJobError

    if isinstance(error, FailedJobError):
        _, trace, *_ = str(error).split("-" * 22)
        return trace.strip().splitlines()[-1]
    job.get_info(mode="force")  # submitit may have asked a while ago
    return "it left the queue" if job.state in UNSAID else job.state
