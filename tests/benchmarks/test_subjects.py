"""The benchmark of subjects: its commands, and the lines of its table."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pandas
import pytest

from benchmarks.subject_rows import SUBJECTS, UNANIMOUS, Subject
from benchmarks.subject_table import RATES, in_readme, markdown
from benchmarks.subjects import command, lines, renewed
from study.config.options import options
from tests.commands import compositions, result_of

SMALL = Subject("digits_s", "tiny", ("dataset.limit=100", "faulty.epochs=2"), epochs=2, views=1, attacked=10)


def one(subject: Subject, method: str, seed: int) -> list[str]:
    """The arguments of one of the jobs."""
    return [f"seed={seed}" if text.startswith("seed=") else text for text in command(subject, method)]


def test_every_subject_has_a_name_of_its_own_and_is_a_data_set() -> None:
    names = [subject.name for subject in SUBJECTS]
    assert len(set(names)) == len(names)
    assert {subject.dataset for subject in SUBJECTS} <= set(options("dataset"))


@pytest.mark.parametrize("subject", SUBJECTS, ids=lambda subject: subject.name)
def test_each_subject_is_trained_as_short_as_it_says(subject: Subject) -> None:
    jobs = {method: compositions(*command(subject, method))[0].config for method in ("joint", "fsgmix")}
    for passes, job in zip((subject.epochs, subject.views), jobs.values(), strict=True):
        assert passes in (None, job.method.epochs)


def test_the_seeds_share_one_faulty_model() -> None:
    jobs = compositions(*command(SMALL, "arachne"))
    assert [(job.config.seed, job.config.subject.seed) for job in jobs] == [(0, 0), (1, 0), (2, 0)]


def test_several_splits_have_a_faulty_model_and_a_seed_each() -> None:
    jobs = compositions(*command(dataclasses.replace(SMALL, splits=4), "arachne"))
    assert [(job.config.seed, job.config.subject.seed) for job in jobs] == [(seed, seed) for seed in range(4)]


def test_a_line_holds_the_means_of_what_is_finished(store: Path) -> None:
    first = result_of(*one(SMALL, "finetune", 0))
    other = result_of(*one(SMALL, "finetune", 1), name="second")
    refused = result_of(*one(SMALL, "joint", 0), name="third")
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
    line = {f"{title} {when}": 80.0 for title in RATES for when in ("before", "after")}
    line |= {"subject": "adult", "method": "joint", "seeds": 3, "repaired": 0, "outcome": "3 failure"}  # type: ignore[dict-item]
    line |= {"repair rate": 0.0, "NFR": 0.0, "seconds": 1.0, "published repair rate": 5.0}
    titles, _, last = markdown(pandas.DataFrame([line])).splitlines()
    assert "3 failure" in last and "→" not in last and last.count("|") == titles.count("|")


def told(subject: str, method: str, **changes: object) -> dict[str, object]:
    """A line of the table."""
    line: dict[str, object] = {"subject": subject, "method": method, "seeds": 3, "repaired": 3, "outcome": "3 repaired"}
    return line | {"accuracy before": 80.0, "accuracy after": 81.5, "repair rate": 20.0, "NFR": 2.5} | changes


def test_subjects_that_were_not_run_keep_their_lines_and_all_their_order() -> None:
    german, compas, adult = SUBJECTS[:3]
    frame = pandas.DataFrame([told("german", "joint"), told("adult", "joint")])
    frame = renewed(frame, compas, [told("compas", "joint")])
    assert list(frame["subject"]) == ["german", "compas", "adult"]
    frame = renewed(frame, german, [told("german", "finetune"), told("german", "joint")])
    assert list(frame["subject"] + " " + frame["method"])[:2] == ["german finetune", "german joint"] and len(frame) == 4
    frame = renewed(frame, german, [told("german", "joint", repaired=1)])
    assert list(frame["repaired"]) == [3, 1, 3, 3]
    assert renewed(frame, adult, []) is frame


def test_several_trainings_that_have_to_agree_are_a_row_of_its_own_where_they_are_run() -> None:
    assert UNANIMOUS not in SMALL.rows and UNANIMOUS in SUBJECTS[0].rows
    (job, *_) = compositions(*command(SMALL, UNANIMOUS))
    assert (job.config.method.runs, job.config.method.epochs) == (4, SMALL.epochs)


def test_the_readme_tells_what_each_approach_changes() -> None:
    refused = {"repaired": 2, "accuracy before": 79.0, "accuracy after": 78.0}
    lines = [told("german", "finetune", **{"accuracy after": 79.96}), told("german", "joint", **refused)]
    lines += [told("german", "arachne", repaired=0, outcome="3 failure")]
    lines += [told("german", "fsgmix", repaired=0, outcome="3 unadaptable")]
    *_, row = in_readme(pandas.DataFrame(lines))
    assert row == "| german | 10 | 80.0 | 0.0 / 20.0 / 2.5 | -1.0 / 20.0 / 2.5 (2 of 3) | failure | n/a |"
