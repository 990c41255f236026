"""Subjects and rows as jobs of real command lines leave them in one store."""

from __future__ import annotations

import csv
import io
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from rich.console import Console

from study.report import runs, table, terminal
from study.report.comparison import Comparison, Row, Subject, compare
from study.report.page import html
from study.report.selection import newest
from tests.commands import FAST, run_job

FINETUNE = ("+method=finetune", "method.epochs=1", *FAST)
ARACHNE = ("+method=arachne", "method.generations=2", *FAST)
FOLDERS = ("cats", "more/cats", "dogs")
LINES: tuple[tuple[str, ...], ...] = (
    *((*FINETUNE, f"faulty.epochs={epochs}", f"seed={seed}") for epochs in (1, 2) for seed in (0, 1, 2)),
    *((*ARACHNE, "faulty.epochs=1", f"method.population={size}", "seed=0") for size in (8, 12)),
    (*FINETUNE, "faulty.epochs=1", "safeguard=soft_voting", "seed=0"),
    *((*FINETUNE, "dataset=image_folder", "architecture=mlp", f"dataset.root=HOME/{folder}") for folder in FOLDERS),
)


@pytest.fixture(scope="module")
def comparison(empty_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Comparison]:
    home = tmp_path_factory.mktemp("home")
    (home / "mlruns").mkdir()
    shutil.copy(empty_store, home / "mlruns" / "mlflow.db")
    for place, folder in enumerate(FOLDERS):
        _write(home / folder, place)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("STUDY_HOME", str(home))
        for number, line in enumerate(LINES):
            run_job(*(text.replace("HOME", str(home)) for text in line), name=f"job{number}")
        yield compare(*newest(runs.read(runs.local_store(), "study")))


def _write(folder: Path, place: int) -> None:
    """Noise in two classes of 30 images."""
    noise = np.random.default_rng(place)
    for name in ("a", "b"):
        (folder / name).mkdir(parents=True)
        for number in range(30):
            Image.fromarray(noise.integers(0, 255, (8, 8, 3), np.uint8)).save(folder / name / f"{number}.png")


@pytest.fixture(scope="module")
def subjects(comparison: Comparison) -> dict[str, Subject]:
    return {subject.name: subject for subject in comparison.subjects}


def _rows(subject: Subject) -> dict[str, Row]:
    return {row.name: row for row in subject.rows}


def test_faulty_models_of_other_recipes_are_other_subjects(subjects: dict[str, Subject]) -> None:
    one, two = subjects["digits / mlp, faulty.epochs=1"], subjects["digits / mlp, faulty.epochs=2"]
    for subject in (one, two):
        row = _rows(subject)["finetune epochs=1"]
        assert (row.runs, row.seeds) == (3, ("0", "1", "2"))
        assert row.figures["accuracy"].n == subject.faulty.figures["accuracy"].n == 3
    assert one.faulty.figures["accuracy"].mean < two.faulty.figures["accuracy"].mean


def test_every_setting_of_a_sweep_keeps_its_row(subjects: dict[str, Subject]) -> None:
    assert list(_rows(subjects["digits / mlp, faulty.epochs=1"])) == [
        "finetune epochs=1",
        "finetune epochs=1 + soft_voting",
        "arachne generations=2 population=8",
        "arachne generations=2 population=12",
    ]


def test_two_folders_are_two_subjects_even_if_they_share_a_name(subjects: dict[str, Subject]) -> None:
    own = [name for name in subjects if "digits" not in name]
    shared, other = own[:2], own[2]
    assert other == "dogs / mlp, faulty.epochs=4"
    assert all(name.startswith("cats / mlp, faulty.epochs=4, dataset.root=") for name in shared)
    assert {name.rpartition("/")[0].endswith("more") for name in shared} == {True, False}


def test_differences_are_in_points(subjects: dict[str, Subject]) -> None:
    subject = subjects["digits / mlp, faulty.epochs=1"]
    figure = _rows(subject)["finetune epochs=1"].figures["accuracy"]
    assert figure.change is not None
    assert figure.change.mean == pytest.approx(figure.mean - subject.faulty.figures["accuracy"].mean)


def test_a_star_needs_three_seeds_and_a_rival_with_as_many(comparison: Comparison) -> None:
    assert not any(own.best for subject in comparison.subjects for row in subject.rows for own in row.figures.values())


def test_everything_is_shown_under_its_name(comparison: Comparison) -> None:
    text = io.StringIO()
    terminal.show(comparison, Console(file=text, width=200))
    lines = list(csv.DictReader(io.StringIO(table.csv(comparison))))
    page = html(comparison)
    for subject in comparison.subjects:
        assert subject.name in " ".join(text.getvalue().split()) and f'data-subject="{subject.name}"' in page
        told = [line["settings"] for line in lines if line["subject"] == subject.name]
        assert len(told) == 1 + len(subject.rows)
    settings = {line["settings"] for line in lines if line["method"] == "arachne"}
    assert settings == {"generations=2 population=8", "generations=2 population=12"}


def test_the_seeds_that_differ_are_told(comparison: Comparison) -> None:
    text = io.StringIO()
    terminal.show(comparison, Console(file=text, width=300))
    (sentence,) = [line for line in text.getvalue().splitlines() if line.startswith("Not all rows")]
    assert "the seeds 0: finetune epochs=1 has 0, 1, 2." in sentence
