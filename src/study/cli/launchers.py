"""What would stop a launcher before its first job, or let jobs overwrite each other: said beforehand, without torch."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from typing import Any

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf, open_dict, read_write
from omegaconf.errors import OmegaConfBaseException

from study.config.compose import Composed
from study.errors import UsageError

SUBMISSION = ("sbatch", "srun")
"""The programs of SLURM without which submitit cannot submit."""
OWN_FOLDER = "${hydra:job.num}"
"""The usual folder of a job within that of its multirun."""


def check_launcher(job: Composed) -> None:
    """Raise UsageError where the launcher of a multirun, of which `job` is one, cannot start jobs."""
    launcher = job.hydra.launcher
    if launcher.get("n_jobs") == 0:
        raise UsageError("hydra.launcher.n_jobs=0: should be at least 1 job at a time, or -1 for one per core")
    missing = [program for program in SUBMISSION if shutil.which(program) is None]
    if launcher._target_.endswith(".SlurmLauncher") and missing and not job.whole.get("plan"):
        raise UsageError(
            f"hydra/launcher={job.choices['hydra/launcher']}: there is no {' and no '.join(missing)} on this machine; "
            "start the sweep on a login node of the cluster, or take hydra/launcher=joblib"
        )


def check_folders(jobs: Sequence[Composed]) -> None:
    """Raise UsageError where two jobs of a multirun would write into one folder."""
    written = _written(jobs[0].hydra.sweep, "subdir")
    if written == OWN_FOLDER:
        return
    owners: dict[str, int] = {}
    for number, job in enumerate(jobs):
        try:
            folder = _folder(job, number)
        except OmegaConfBaseException as error:
            raise UsageError(f"hydra.sweep.subdir={written}: {str(error).splitlines()[0]}") from error
        if folder in owners:
            raise UsageError(
                f"hydra.sweep.subdir={written}: jobs {owners[folder] + 1} and {number + 1} would write into "
                f"one folder, {folder}; leave it out, or add {OWN_FOLDER} to it"
            )
        owners[folder] = number


def _folder(job: Composed, number: int) -> str:
    """The folder of a job within that of its multirun, as Hydra will name it."""
    hydra, settings = job.hydra, HydraConfig.instance()
    whole: Any = hydra._get_root()
    before = settings.cfg
    with read_write(hydra), open_dict(hydra):
        hydra.job.num, hydra.job.id = number, f"{hydra.job.name}_{number}"
    try:
        settings.set_config(whole)
        return os.path.normpath(str(hydra.sweep.subdir))
    finally:
        settings.cfg = before


def _written(node: DictConfig, name: str) -> str:
    """A setting as it is written, what it refers to not filled in."""
    values: Any = OmegaConf.to_container(node, resolve=False)
    return str(values[name])
