"""The jobs of a command line before any of them runs: checked, and listed if the user asks for it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from study.config import known
from study.config.compose import Composed, alike
from study.config.settings import settings_of
from study.config.values import check_values

if TYPE_CHECKING:
    from study.config.job import Job


def check(jobs: Sequence[Composed]) -> list[Job]:
    """Prepare every job, so that a mistake in the last one is found before the first one starts.

    What needs no torch is checked first, in all jobs: importing torch and Lightning takes seconds.
    """
    if not jobs:
        return []
    _check_values(jobs)
    from study.config.job import prepare_all

    return prepare_all(jobs)


def unfinished(jobs: Sequence[Composed]) -> list[Composed]:
    """The jobs that are not known to be finished, after what needs no torch has been checked in all of them."""
    _check_values(jobs)
    return [job for job in jobs if not known.finished(job.whole, job.hydra)]


def _check_values(jobs: Sequence[Composed]) -> None:
    for job, first in alike(jobs):
        if job is first:
            check_values(job)
        else:
            settings_of(job.values)


def show(jobs: Sequence[Job]) -> None:
    """Print one line per job: its key, whether it is finished, and whether its approach can be applied at all."""
    from study.config.keys import keys_of

    obstacles: dict[int, str | None] = {}  # by the task: jobs that differ in their seeds alone share it
    for job, keys in zip(jobs, keys_of(jobs), strict=True):
        if id(job.task) not in obstacles:
            obstacles[id(job.task)] = job.obstacle
        state = "to do"
        if reason := obstacles[id(job.task)]:
            state = f"unadaptable: {reason}"
        if job.store.finished(keys.job):
            state = "finished"
        print(f"{keys.job}  {job.names.run}  {state}")
