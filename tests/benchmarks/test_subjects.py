"""The benchmark of subjects: its commands, and the lines of its table."""

from __future__ import annotations

from pathlib import Path

import pandas
import pytest

from benchmarks.subject_rows import SUBJECTS, Subject
from benchmarks.subjects import SEEDS, command, lines, markdown
from study.config.options import options
from tests.commands import compositions, result_of

SMALL = Subject("digits_s", "tiny", ("dataset.limit=100", "faulty.epochs=2"), epochs=2, views=1, attacked=10)


def test_every_subject_has_a_name_of_its_own_and_is_a_data_set() -> None:
    names = [subject.name for subject in SUBJECTS]
    assert len(set(names)) == len(names)
    assert {subject.dataset for subject in SUBJECTS} <= set(options("dataset"))


@pytest.mark.parametrize("subject", SUBJECTS, ids=lambda subject: subject.name)
def test_each_subject_is_trained_as_short_as_it_says(subject: Subject) -> None:
    jobs = {method: compositions(*command(subject, method, 1))[0].config for method in ("joint", "fsgmix")}
    for passes, job in zip((subject.epochs, subject.views), jobs.values(), strict=True):
        assert passes in (None, job.method.epochs)


def test_the_seeds_share_one_faulty_model() -> None:
    jobs = compositions(*command(SUBJECTS[0], "arachne", SEEDS))
    assert [(job.config.seed, job.config.subject.seed) for job in jobs] == [(0, 0), (1, 0), (2, 0)]


def test_a_line_holds_the_means_of_what_is_finished(store: Path) -> None:
    first = result_of(*command(SMALL, "finetune", 1))
    other = result_of(*command(SMALL, "finetune", 3)[:-2], "seed=1", "trainer.threads=1", name="second")
    refused = result_of(*command(SMALL, "joint", 1), name="third")
    second, third = lines(SMALL)
    assert (second["method"], second["seeds"], third["method"], third["seeds"]) == ("finetune", 2, "joint", 1)
    assert second["accuracy before"] == pytest.approx(100 * first.metrics["before/accuracy"])
    both = [result.metrics["after/accuracy"] for result in (first, other)]
    assert second["accuracy after"] == pytest.approx(50 * sum(both))
    assert third["outcome"] == f"1 {refused.tags['outcome']}"
    told = markdown(pandas.DataFrame([second, third])).splitlines()
    assert len(told) == 4 and told[2].startswith("| digits_s | finetune | ")


def test_a_subject_without_files_has_no_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("STUDY_DATA", str(tmp_path))
    assert list(lines(Subject("german", "default"))) == []
    assert "german is left out" in capsys.readouterr().err


def test_where_no_seed_ends_with_a_repair_the_outcome_stands_in_place_of_rates() -> None:
    figures = dict.fromkeys(("accuracy", "margin ASR", "AAOD"), 80.0)
    line = {f"{title} {when}": value for title, value in figures.items() for when in ("before", "after")}
    line |= {"subject": "adult", "method": "joint", "seeds": 3, "repaired": 0, "outcome": "3 failure"}  # type: ignore[dict-item]
    line |= {"repair rate": 0.0, "NFR": 0.0, "seconds": 1.0, "published repair rate": 5.0}
    *_, last = markdown(pandas.DataFrame([line])).splitlines()
    assert "3 failure" in last and "→" not in last
