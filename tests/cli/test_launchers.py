"""What would stop a launcher, or mix the results of two jobs, is said before anything runs."""

from __future__ import annotations

import copy
import shutil
from functools import cache
from typing import Any

import pytest
from omegaconf import read_write

from study.cli.launchers import check_folders, check_launcher
from study.config.compose import Composed
from study.errors import UsageError
from tests.commands import compositions


def in_parallel(**launcher: Any) -> Composed:
    """A job that joblib is to start."""
    job = copy.deepcopy(one_of_many("hydra/launcher=joblib"))
    with read_write(job.hydra):
        job.hydra.launcher.update(launcher)
    return job


@cache
def one_of_many(line: str) -> Composed:
    return compositions("-m", *line.split())[0]


def in_folders(subdir: str) -> list[Composed]:
    """Two approaches under two seeds, in folders named by a pattern."""
    for job in four_jobs():
        with read_write(job.hydra):
            job.hydra.sweep.subdir = subdir
    return four_jobs()


@cache
def four_jobs() -> list[Composed]:
    return compositions("-m", "+method=finetune,joint", "seed=0,1")


def test_no_job_at_a_time_is_refused() -> None:
    with pytest.raises(UsageError, match=r"^hydra.launcher.n_jobs=0: should be at least 1 job at a time, or -1"):
        check_launcher(in_parallel(n_jobs=0))


@pytest.mark.parametrize("jobs", [1, 2, -1])
def test_other_numbers_of_jobs_are_taken(jobs: int) -> None:
    check_launcher(in_parallel(n_jobs=jobs))


@pytest.mark.parametrize(
    ("there", "said"), [((), "no sbatch and no srun on"), (("sbatch",), "no srun on"), (("srun",), "no sbatch on")]
)
def test_slurm_is_needed_to_submit_to_it(there: tuple[str, ...], said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("hydra_plugins.hydra_submitit_launcher")
    monkeypatch.setattr(shutil, "which", lambda program: program if program in there else None)
    with pytest.raises(UsageError, match=f"^hydra/launcher=submitit_slurm: there is {said} this machine; start"):
        check_launcher(one_of_many("hydra/launcher=submitit_slurm"))


@pytest.mark.parametrize("line", ["hydra/launcher=submitit_slurm plan=true", "hydra/launcher=submitit_local"])
def test_and_not_to_list_the_jobs_or_to_run_them_here(line: str, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("hydra_plugins.hydra_submitit_launcher")
    monkeypatch.setattr(shutil, "which", lambda program: None)
    check_launcher(one_of_many(line))


@pytest.mark.parametrize(
    ("subdir", "said"),
    [
        ("all", "hydra.sweep.subdir=all: jobs 1 and 2 would write into one folder, all; leave it out, or add ${hydra"),
        ("s${seed}", "hydra.sweep.subdir=s${seed}: jobs 1 and 3 would write into one folder, s0; "),
        ("a/../${seed}", "hydra.sweep.subdir=a/../${seed}: jobs 1 and 3 would write into one folder, 0; "),
        ("${nothing}", "hydra.sweep.subdir=${nothing}: Interpolation key 'nothing' not found"),
    ],
)
def test_two_jobs_cannot_have_one_folder(subdir: str, said: str) -> None:
    with pytest.raises(UsageError) as refusal:
        check_folders(in_folders(subdir))
    assert str(refusal.value).startswith(said)


@pytest.mark.parametrize(
    "subdir", ["${hydra:job.num}", "m/${hydra:job.num}", "${hydra:job.id}", "${hydra:job.override_dirname}"]
)
def test_folders_of_their_own_are_taken(subdir: str) -> None:
    check_folders(in_folders(subdir))
