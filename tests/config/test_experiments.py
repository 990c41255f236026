"""Experiments, and the methods that replace theirs."""

from __future__ import annotations

from pathlib import Path

from study.config.compose import with_plus
from tests.commands import compositions

OWN = """# @package _global_
defaults:
  - override /metric: fast
"""


def test_an_experiment_brings_its_groups_and_values() -> None:
    (job,) = compositions("experiment=mnist_full", "seed=3")
    assert {job.choices[name] for name in ("method", "dataset", "metric")} == {"full/joint", "mnist", "autoattack"}
    assert (job.config.seed, job.config.subject.seed) == (3, 0)
    assert job.config.architecture._target_.endswith("LeNet5"), "the usual architecture of the experiment's data set"


def test_another_method_replaces_the_experiments() -> None:
    for written in ("method=finetune", "+method=finetune"):
        (job,) = compositions("+experiment=text", written, "dataset.length=9")
        assert (job.choices["method"], job.choices["dataset"], job.config.dataset.length) == ("finetune", "tokens", 9)
    jobs = compositions("-m", "+experiment=table", "+method=finetune,joint", "seed=0,1")
    assert [job.choices["method"] for job in jobs] == ["finetune", "finetune", "joint", "joint"]


def test_an_experiment_of_ones_own_may_leave_the_method_open(tmp_path: Path) -> None:
    (tmp_path / "experiment").mkdir()
    (tmp_path / "experiment" / "quick.yaml").write_text(OWN)
    mine = ("--config-dir", str(tmp_path))
    assert with_plus([*mine, "experiment=quick", "method=joint"]) == [*mine, "+experiment=quick", "+method=joint"]
    (job,) = compositions(*mine, "experiment=quick", "method=joint")
    assert (job.choices["method"], job.choices["metric"]) == ("joint", "fast")
    (tmp_path / "experiment" / "quick.yaml").write_text(f"{OWN}  - /method: finetune\n")
    assert with_plus([f"--config-dir={tmp_path}", "experiment=quick", "+method=joint"])[1:] == [
        "+experiment=quick",
        "method=joint",
    ]
