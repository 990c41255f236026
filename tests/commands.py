"""Command lines run inside the test's own process: composed, checked, and run as Hydra's basic launcher would."""

from __future__ import annotations

import time
from pathlib import Path

from study.cli.absent import present
from study.cli.plan import check
from study.config.compose import Composed, composed, parsed, with_plus
from study.config.job import Job
from study.job import run
from study.storage.paths import conf_folder, multirun
from study.tracking.about import About
from study.tracking.result import Result
from study.tracking.store import Store, import_mlflow

FAST = ("metric=fast", "faulty.epochs=4", "trainer.threads=1", "trainer.progress=false")
"""A job on digits in about a second."""


def compositions(*arguments: str) -> list[Composed]:
    """The jobs of a command line, composed."""
    return composed(parsed(with_plus(arguments)), conf_folder())


def prepared(*arguments: str) -> list[Job]:
    """The jobs of a command line, checked; of a pattern those whose data set is there."""
    return check(present(with_plus(arguments), conf_folder())[1])


def about(job: Job) -> About:
    """What the run of a job is about, which starts now."""
    return About(
        experiment=job.store.experiment,
        run_name=job.names.run,
        tags=job.names.tags(),
        config=job.config,
        sweep="",
        started=time.time(),
    )


def run_job(*arguments: str, name: str = "job") -> tuple[str, Path]:
    """Run a command line of one job; its outcome and its folder."""
    (job,) = prepared(*arguments)
    folder = multirun() / name
    return run(job, about(job), folder), folder


def result_of(*arguments: str, name: str = "job") -> Result:
    """Run a command line of one job; its result file."""
    _, folder = run_job(*arguments, name=name)
    return Result.read(folder)


def finished_keys() -> list[str]:
    """The keys of the FINISHED runs in the home's store, by MLflow's own client, sorted."""
    import_mlflow()
    from mlflow import MlflowClient

    client = MlflowClient(Store().uri)
    runs = client.search_runs([client.get_experiment_by_name("study").experiment_id])
    return sorted(run.data.tags["key"] for run in runs if run.info.status == "FINISHED")
