"""The start and the end of a multirun, in the process that the user started."""

from __future__ import annotations

import sys
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any, ClassVar

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.experimental.callback import Callback
from omegaconf import DictConfig

from study.cli.logbook import FAILED, UNFINISHED, Logbook
from study.cli.lost import survived
from study.cli.search import best
from study.config.sweeps import every_job
from study.runtime.progress import Progress, shown
from study.storage.paths import from_here

READ_EVERY = 5.0
"""Seconds between two looks into the logbook, which may lie on a file system that many machines share."""


class JobsProgress(Progress):
    """How many jobs have ended, as the logbook says."""

    def __init__(self, logbook: Logbook, jobs: int | None) -> None:
        super().__init__("run the jobs", jobs, "jobs")
        self.logbook = logbook
        self._due = 0.0

    def position(self) -> tuple[float, float | None]:
        """Jobs that have ended and in all; the files are read every few seconds."""
        if time.monotonic() >= self._due:
            self.done = sum(entry.outcome != UNFINISHED for entry in self.logbook.entries())
            self._due = time.monotonic() + READ_EVERY
        return super().position()


class Sweep(Callback):
    """Counts the jobs of a multirun before they start, and says at the end what became of them."""

    crashed: ClassVar[int] = 0
    """Jobs of this process's last multirun that crashed, were lost, were not recorded, or never ended."""
    running: ClassVar[Logbook | None] = None
    """The logbook of the multirun that has begun and not ended."""
    waiting: ClassVar[ExitStack] = ExitStack()
    """What is shown while jobs run whose lines go into files."""

    def on_multirun_start(self, config: DictConfig, **_: Any) -> None:
        """Open the logbook, which the jobs find wherever they run."""
        folder, jobs = Path(config.hydra.sweep.dir), number_of_jobs(config.hydra)
        Sweep.crashed, Sweep.running = 0, Logbook(folder)
        Sweep.running.open(jobs)
        count = "jobs" if jobs is None else f"{jobs} job{'s' if jobs != 1 else ''}"
        print(f"{count}, in {from_here(folder)}", flush=True)
        if config.hydra.launcher._target_.startswith("hydra_plugins.hydra_submitit_launcher."):
            Sweep.waiting.enter_context(survived(Sweep.running))
            Sweep.waiting.enter_context(shown(config.trainer.progress))
            Sweep.waiting.enter_context(JobsProgress(Sweep.running, jobs))

    def on_multirun_end(self, config: DictConfig, **_: Any) -> None:
        """Say what became of the jobs, and what a search found."""
        Sweep.end()
        print("".join(f"{line}\n" for line in best(Path(config.hydra.sweep.dir), config.objective)), end="", flush=True)

    @staticmethod
    def end() -> None:
        """Say what became of the jobs, unless that was said: Hydra does not tell of a multirun that is cut off."""
        if Sweep.running is None:
            return
        Sweep.waiting.close()
        Sweep.crashed = sum(entry.outcome in (*FAILED, UNFINISHED) for entry in Sweep.running.entries())
        interrupted = isinstance(sys.exception(), KeyboardInterrupt)  # `__main__` then says how to go on
        print("\n".join(Sweep.running.summary(advice=not interrupted)), flush=True)
        Sweep.running = None


def number_of_jobs(hydra: DictConfig) -> int | None:
    """How many jobs the sweeper will start, None if it does not say so beforehand."""
    sweeper = hydra.sweeper
    if sweeper._target_.endswith(".BasicSweeper"):
        given = [f"{name}={value}" for name, value in (sweeper.params or {}).items()]
        return len(every_job(OverridesParser.create().parse_overrides([*given, *hydra.overrides.task])))
    trials: int | None = sweeper.get("n_trials")
    return trials
