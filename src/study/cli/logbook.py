"""The logbook of a multirun: one small file per job in the sweep's folder, whatever process the job runs in."""

from __future__ import annotations

import dataclasses
import json
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from study.runtime.progress import duration
from study.storage.files import write_atomically

FOLDER, SWEEP = ".sweep", "sweep.json"
UNFINISHED, SKIPPED, CRASHED, LOST = "unfinished", "skipped", "crashed", "lost"
"""What becomes of a job beside the outcomes of a repair: it was cut off or still runs, was not run again, crashed, or
its cluster knows that it ended and there is no result."""
NOT_RECORDED = "not recorded"
"""Its result is in its folder, but the store did not take it."""
FAILED = (CRASHED, LOST, NOT_RECORDED)
"""Ends that the same command has to make good, and for which the exit code is 1."""


@dataclass(frozen=True)
class Entry:
    """A job that was started.

    number: from 0; outcome: `unfinished` until it ends; reason: why it crashed, was lost or was not recorded; seconds:
    wall-clock time.
    """

    number: int
    name: str
    started: float
    outcome: str = UNFINISHED
    reason: str = ""
    seconds: float = 0.0


class Logbook:
    """What is known of the jobs of the multirun whose results go into `folder`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / FOLDER

    def open(self, jobs: int | None) -> None:
        """Note how many jobs there will be, None if the sweeper decides that as it goes."""
        write_atomically(self.folder / SWEEP, json.dumps({"jobs": jobs, "started": time.time()}))

    def start(self, number: int, name: str) -> Entry:
        """Note that a job starts now."""
        entry = Entry(number, name, time.time())
        self._write(entry)
        return entry

    def end(self, entry: Entry, outcome: str, reason: str = "") -> None:
        """Note that a job ends now."""
        seconds = time.time() - entry.started
        self._write(dataclasses.replace(entry, outcome=outcome, reason=reason, seconds=seconds))

    def lose(self, number: int, name: str, reason: str) -> None:
        """Note that a job, which may not have started, was lost; nothing changes if it came to its end before."""
        entries = {entry.number: entry for entry in self.entries()}
        entry = entries.get(number, Entry(number, name, time.time()))
        if entry.outcome == UNFINISHED:
            self.end(dataclasses.replace(entry, name=name), LOST, reason)

    def entries(self) -> list[Entry]:
        """The jobs that were started so far, in order."""
        files = [path for path in self.folder.glob("*.json") if path.name != SWEEP]
        entries = [Entry(**json.loads(path.read_text())) for path in files]
        return sorted(entries, key=lambda entry: entry.number)

    @property
    def jobs(self) -> int | None:
        """How many jobs there are, None if that is unknown."""
        jobs: int | None = self._sweep().get("jobs")
        return jobs

    def place(self, number: int) -> str:
        """Where a job that starts now stands: `job 3 of 12, about 4 min left`."""
        jobs = self.jobs
        text = f"job {number + 1}" + ("" if jobs is None else f" of {jobs}")
        left = self.seconds_left()
        return text if left is None else f"{text}, about {duration(left)} left"

    def seconds_left(self) -> float | None:
        """Until the last job ends, if the rest take as long as those that ran so far; None if that is unknown.

        As many jobs are taken to run at a time as run now. A job that was finished before says nothing about time.
        """
        entries, jobs = self.entries(), self.jobs
        running = sum(entry.outcome == UNFINISHED for entry in entries)
        ran = [entry.seconds for entry in entries if entry.outcome not in (UNFINISHED, SKIPPED, LOST)]
        if jobs is None or not ran:
            return None
        return sum(ran) / len(ran) * (jobs - len(entries) + running) / max(1, running)

    def summary(self, *, advice: bool = True) -> list[str]:
        """Lines that say what became of the jobs and, as `advice`, what to do next."""
        entries, jobs = self.entries(), self.jobs
        outcomes = [entry.outcome for entry in entries]
        words = {SKIPPED: "finished before"}
        counts = [f"{outcomes.count(one)} {words.get(one, one)}" for one in dict.fromkeys(outcomes)]
        if jobs is not None and jobs > len(entries):
            counts.append(f"{jobs - len(entries)} not run")
        number = max(len(entries), jobs or 0)
        took = duration(time.time() - self._sweep().get("started", time.time()))
        lines = [f"{number} job{'s' if number != 1 else ''} in {took}: {', '.join(counts)}."]
        lines += [f"{entry.name} crashed: {entry.reason}" for entry in entries if entry.outcome == CRASHED]
        lines += [f"{entry.name} was lost: {entry.reason}" for entry in entries if entry.outcome == LOST]
        refusals = Counter(entry.reason for entry in entries if entry.outcome == NOT_RECORDED)
        lines += [f"{count} not recorded: {reason}" for reason, count in refusals.items()]
        if advice and ({*FAILED, UNFINISHED} & set(outcomes) or number > len(entries)):
            lines.append("The same command goes on from here: what is finished is not run again.")
        if advice and set(outcomes) - {*FAILED, UNFINISHED}:
            lines.append("Compare: python -m study.report")
        return lines

    def _write(self, entry: Entry) -> None:
        write_atomically(self.folder / f"{entry.number}.json", json.dumps(dataclasses.asdict(entry)))

    def _sweep(self) -> dict:
        path = self.folder / SWEEP
        return json.loads(path.read_text()) if path.exists() else {}
