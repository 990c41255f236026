"""What makes two jobs results of one subject, and of one row in the report."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch

from study.config.keys import Keys
from tests.commands import prepared

LINE = ("+method=finetune",)


def keys(*arguments: str) -> Keys:
    """The keys of a command line of one job."""
    (job,) = prepared(*arguments)
    job.data.load(job.settings.subject.seed)
    return Keys.of(job)


@pytest.fixture(scope="module")
def base() -> Keys:
    return keys(*LINE)


@pytest.mark.parametrize(
    "change", ["seed=1", "trainer.threads=7", "metric=fast", "method.epochs=3", "safeguard=soft_voting", "force=true"]
)
def test_a_subject_does_not_depend_on_seed_machine_and_approach(base: Keys, change: str) -> None:
    assert keys(*LINE, change).subject == base.subject


@pytest.mark.parametrize(
    "change",
    ["subject.seed=0", "faulty.epochs=3", "architecture.widths=[9]", "dataset.limit=100", "dataset.epsilon=0.2"],
)
def test_a_subject_depends_on_what_is_repaired(base: Keys, change: str) -> None:
    assert keys(*LINE, change).subject != base.subject


def test_a_limited_subject_is_one_over_its_seeds() -> None:
    first, second = (keys(*LINE, "dataset.limit=100", f"seed={seed}") for seed in (0, 1))
    assert first.subject == second.subject and first.data != second.data


def test_a_subject_whose_seed_is_set_is_one_over_the_seeds_of_the_repair() -> None:
    assert keys(*LINE, "subject.seed=5").subject == keys(*LINE, "subject.seed=5", "seed=1").subject
    assert keys(*LINE, "subject.seed=5").subject != keys(*LINE, "subject.seed=6").subject


def test_a_job_of_a_seed_that_is_set_is_not_that_of_one_that_follows(base: Keys) -> None:
    """They are the same repair, but count for different subjects."""
    assert keys(*LINE, "subject.seed=0").repair == base.repair
    assert keys(*LINE, "subject.seed=0").job != base.job


def test_a_checkpoint_counts_by_its_content(tmp_path: Path) -> None:
    (job,) = prepared()
    for name in ("a.pt", "b.pt"):
        torch.save(job.make_model().net.state_dict(), tmp_path / name)
    shutil.copy(tmp_path / "a.pt", tmp_path / "copy.pt")
    a, b, copy = (keys(f"faulty.checkpoint={tmp_path / name}").subject for name in ("a.pt", "b.pt", "copy.pt"))
    assert a == copy != b


@pytest.mark.parametrize("change", ["seed=1", "faulty.epochs=3", "trainer.threads=7", "metric=fast", "subject.seed=0"])
def test_a_row_is_the_same_on_every_subject_and_seed(base: Keys, change: str) -> None:
    assert keys(*LINE, change).row == base.row


@pytest.mark.parametrize("change", ["method.epochs=3", "safeguard=soft_voting", "method.max_seconds=9"])
def test_a_row_depends_on_all_settings_of_approach_and_safeguard(base: Keys, change: str) -> None:
    assert keys(*LINE, change).row != base.row


def test_a_spelt_out_default_is_the_same_row() -> None:
    assert keys("+method=arachne", "method.population=100").row == keys("+method=arachne").row


def test_how_a_property_is_measured_has_a_key_of_its_own(base: Keys) -> None:
    fewer = keys(*LINE, "metric.attacks.attack_success_rate.steps=10").measures
    assert {name for name in fewer if fewer[name] != base.measures[name]} == {
        f"{prefix}{name}"
        for prefix in ("", "margin_")
        for name in ("attack_success_rate", "pgd_accuracy", "robustness_negative_flip_rate")
    }
    assert keys(*LINE, "metric.attacks.attack_success_rate.batch_size=9").measures == base.measures
