"""A job that a cluster lost is named, and the others are waited for."""

from __future__ import annotations

import math
import subprocess
from pathlib import Path
from typing import Any

import pytest
from hydra.core.utils import JobReturn, JobStatus

from study.cli import lost
from study.cli.logbook import LOST, Logbook
from study.cli.lost import is_queued, survived

submitit = pytest.importorskip("submitit")
from submitit.core import utils  # noqa: E402

TRACE = "Traceback (most recent call last):\n  File 'x.py', line 1\nImportError: no module named own"


class Ended(submitit.Job):  # type: ignore[misc]
    """A job that has ended, in a state of which the cluster tells."""

    _results_timeout_s = 0
    state = "CANCELLED by 0"

    def _register_in_watcher(self) -> None: ...

    def get_info(self, mode: str = "force") -> dict[str, str]:
        return {}

    def done(self, force_check: bool = False) -> bool:
        return True


def ended(folder: Path, number: int, *result: Any, log: str = "") -> Ended:
    """The job `number` of an array; `result` is what it left, nothing where it was lost."""
    job = Ended(folder, f"7_{number}")
    call = utils.DelayedSubmission(print, ["+method=x", f"seed={number}"], "hydra.sweep.dir", number, "id", {})
    call.dump(job.paths.submitted_pickle)
    if result:
        utils.cloudpickle_dump(result, job.paths.result_pickle)
    if log:
        job.paths.stderr.write_text(log)
    return job


def returned(status: JobStatus, value: Any) -> JobReturn:
    return JobReturn(status=status, _return_value=value)


@pytest.fixture
def book(tmp_path: Path) -> Logbook:
    book = Logbook(tmp_path)
    book.open(2)
    return book


def test_the_others_are_waited_for(book: Logbook, tmp_path: Path) -> None:
    jobs = [
        ended(tmp_path, 0, log="killed"),
        ended(tmp_path, 1, "success", returned(JobStatus.COMPLETED, "repaired")),
    ]
    entry, rest = book.start(0, "x digits s0"), book.start(1, "x digits s1")
    book.end(rest, "repaired")
    with survived(book):
        values = [job.results()[0].return_value for job in jobs]
    assert values == [-math.inf, "repaired"]
    assert [one.outcome for one in book.entries()] == [LOST, "repaired"]
    assert book.entries()[0].started == entry.started
    assert [line for line in book.summary() if "lost" in line] == [
        book.summary()[0],
        f"+method=x seed=0 was lost: CANCELLED by 0 (job 7_0 of the cluster); its log is {tmp_path / '7_0_0_log.err'}",
    ]
    assert "1 lost, 1 repaired" in book.summary()[0]
    assert "The same command goes on from here: what is finished is not run again." in book.summary()


@pytest.mark.parametrize(
    ("result", "said"),
    [
        ((), "CANCELLED by 0 (job 7_1 of the cluster); it never started, and has no log"),
        (("error", TRACE), "ImportError: no module named own (job 7_1 of"),
        (
            ("success", returned(JobStatus.FAILED, utils.UncompletedJobError("Job not requeued because"))),
            "it ran out of time, see hydra.launcher.timeout_min (job 7_1 of the cluster)",
        ),
        (("success", returned(JobStatus.FAILED, OSError(28, "No space\nleft"))), "OSError: [Errno 28] No space (job"),
    ],
)
def test_what_became_of_it_is_one_sentence(result: tuple[Any, ...], said: str, book: Logbook, tmp_path: Path) -> None:
    with survived(book):
        ended(tmp_path, 1, *result).results()
    (entry,) = book.entries()
    assert (entry.number, entry.outcome) == (1, LOST)
    assert entry.reason.startswith(said)


def test_a_job_that_came_to_its_end_before_is_not_lost(book: Logbook, tmp_path: Path) -> None:
    book.end(book.start(0, "x digits s0"), "repaired")
    with survived(book):
        ended(tmp_path, 0).results()
    (entry,) = book.entries()
    assert (entry.name, entry.outcome) == ("x digits s0", "repaired")


@pytest.mark.parametrize(
    ("code", "told", "error", "queued"),
    [
        (0, "  7_1 local study root R 0:03 1 node\n", "", True),
        (0, "", "", False),
        (1, "", "slurm_load_jobs error: Invalid job id specified\n", False),
        (1, "", "slurm_load_jobs error: Unable to contact slurm controller\n", True),
    ],
)
def test_a_job_waits_or_runs_while_the_queue_lists_it_or_does_not_answer(
    code: int, told: str, error: str, queued: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def squeue(command: list[str], **_: Any) -> subprocess.CompletedProcess[str]:
        asked.append(command)
        return subprocess.CompletedProcess(command, code, told, error)

    monkeypatch.setattr(subprocess, "run", squeue)
    assert is_queued(submitit.SlurmJob(tmp_path, "7_1")) is queued
    assert asked == [["squeue", "--noheader", "--jobs", "7_1"]]
    assert is_queued(Ended(tmp_path, "7_1"))


@pytest.mark.parametrize("state", ["UNKNOWN", "PENDING"])
@pytest.mark.parametrize("result", [(), ("success", returned(JobStatus.COMPLETED, "repaired"))])
def test_a_job_of_which_the_cluster_keeps_no_account_is_not_waited_for_for_ever(
    result: tuple[Any, ...], state: str, book: Logbook, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = ended(tmp_path, 1, *result)
    there = job.paths.result_pickle
    monkeypatch.setattr(Ended, "state", state)
    monkeypatch.setattr(Ended, "done", lambda self: there.exists() and asked)
    monkeypatch.setattr(lost, "ASK_EVERY", 0.0)
    monkeypatch.setattr(lost, "PATIENCE", 0.0)
    asked: list[Any] = []
    monkeypatch.setattr(lost, "is_queued", asked.append)
    with survived(book):
        (told,) = job.results()
    assert asked == [job]
    assert told.return_value == ("repaired" if result else -math.inf)
    assert [entry.reason for entry in book.entries()] == (
        [] if result else ["it left the queue (job 7_1 of the cluster); it never started, and has no log"]
    )


def test_afterwards_submitit_is_as_it_was(book: Logbook, tmp_path: Path) -> None:
    with survived(book):
        pass
    with pytest.raises(utils.UncompletedJobError):
        ended(tmp_path, 0).results()
