"""The logbook tells where a job stands, how long the rest may take, and what became of all of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from study.cli import logbook
from study.cli.logbook import CRASHED, SKIPPED, Logbook


class Clock:
    """The time, set by hand."""

    now = 1000.0

    def time(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(logbook, "time", clock)
    return clock


def opened(folder: Path, jobs: int | None) -> Logbook:
    Logbook(folder).open(jobs)
    return Logbook(folder)


def run(book: Logbook, clock: Clock, number: int, seconds: float, outcome: str = "repaired", reason: str = "") -> None:
    entry = book.start(number, f"arachne digits s{number}")
    clock.now += seconds
    book.end(entry, outcome, reason)


def test_one_job_after_another(tmp_path: Path, clock: Clock) -> None:
    book = opened(tmp_path, 12)
    book.start(0, "first")
    assert book.place(0) == "job 1 of 12"
    run(book, clock, 0, 20)
    run(book, clock, 1, 40)
    book.start(2, "third")
    assert book.place(2) == "job 3 of 12, about 5 min left"
    assert book.seconds_left() == 30 * 10


def test_a_job_that_was_not_run_again_says_nothing_about_time(tmp_path: Path, clock: Clock) -> None:
    book = opened(tmp_path, 4)
    run(book, clock, 0, 1, SKIPPED)
    book.start(1, "second")
    assert book.place(1) == "job 2 of 4"
    run(book, clock, 1, 60, CRASHED)
    book.start(2, "third")
    assert book.seconds_left() == 60 * 2


def test_jobs_at_the_same_time_share_the_rest(tmp_path: Path, clock: Clock) -> None:
    book = opened(tmp_path, 10)
    first, _ = book.start(0, "first"), book.start(1, "second")
    clock.now += 50
    book.end(first, "repaired")
    book.start(2, "third")
    assert book.seconds_left() == 50 * 9 / 2


def test_a_sweeper_that_decides_as_it_goes(tmp_path: Path, clock: Clock) -> None:
    book = opened(tmp_path, None)
    run(book, clock, 0, 10)
    book.start(1, "second")
    assert book.place(1) == "job 2"
    assert book.summary()[0] == "2 jobs in 10 s: 1 repaired, 1 unfinished."


def test_everything_done(tmp_path: Path, clock: Clock) -> None:
    book = opened(tmp_path, 3)
    for number, outcome in enumerate(("repaired", SKIPPED, "repaired")):
        run(book, clock, number, 100, outcome)
    assert book.summary() == ["3 jobs in 5 min: 2 repaired, 1 finished before.", "Compare: python -m study.report"]


def test_crashes_are_named_and_the_rest_is_counted(tmp_path: Path, clock: Clock) -> None:
    book = opened(tmp_path, 5)
    run(book, clock, 0, 1)
    run(book, clock, 1, 1, CRASHED, "ArithmeticError: the approach is broken")
    book.start(2, "third")
    assert book.summary() == [
        "5 jobs in 2 s: 1 repaired, 1 crashed, 1 unfinished, 2 not run.",
        "arachne digits s1 crashed: ArithmeticError: the approach is broken",
        "The same command goes on from here: what is finished is not run again.",
        "Compare: python -m study.report",
    ]
    assert book.summary(advice=False) == book.summary()[:2]


def test_nothing_to_compare_where_everything_crashed(tmp_path: Path, clock: Clock) -> None:
    book = opened(tmp_path, 1)
    run(book, clock, 0, 1, CRASHED, "ValueError: no")
    assert book.summary()[0] == "1 job in 1 s: 1 crashed." and "report" not in " ".join(book.summary())


def test_more_than_ten_jobs_stay_in_order(tmp_path: Path, clock: Clock) -> None:
    book = opened(tmp_path, 12)
    for number in reversed(range(12)):
        run(book, clock, number, 1)
    assert [entry.number for entry in book.entries()] == list(range(12))
