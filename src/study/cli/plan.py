"""The jobs of a command line before any of them runs: checked, and listed if the user asks for it."""

from __future__ import annotations

from collections.abc import Sequence

from study.config.compose import Composed
from study.config.job import Job, prepare, unadaptable


def check(jobs: Sequence[Composed]) -> list[Job]:
    """Prepare every job, so that a mistake in the last one is found before the first one starts."""
    return [prepare(job.config, job.hydra, job.overrides) for job in jobs]


def show(jobs: Sequence[Job]) -> None:
    """Print one line per job: its key, whether it is finished, and whether its approach can be applied at all."""
    for job in jobs:
        job.load_data()
        state = "to do"
        if reason := unadaptable(job):
            state = f"unadaptable: {reason}"
        if job.store.finished(job.key):
            state = "finished"
        print(f"{job.key}  {job.names.run} s{job.settings.seed}  {state}")
