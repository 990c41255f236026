"""The folders of jobs, and which of their results stand for a job that was measured more than once."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from study.tracking.result import ARTIFACTS, RESULT, Result
from study.tracking.run import milliseconds

NOTES = ".hydra"
"""Hydra's notes in a job's folder, made before the job starts."""


@dataclass(frozen=True)
class Found:
    """A result, without its content: started in milliseconds since 1970."""

    folder: Path
    key: str
    experiment: str
    status: str
    started: int

    @staticmethod
    def of(folder: Path) -> Found:
        """What the result in a folder is; raises as `Result.read`."""
        result = Result.read(folder)
        return Found(folder, result.key, result.experiment, result.status, milliseconds(result.started))


def jobs(folders: Iterable[Path]) -> list[Path]:
    """Folders of jobs at any depth: those with a result, and those with artifacts or Hydra's notes but no result."""
    names = (RESULT, ARTIFACTS, NOTES)
    return sorted({found.parent.resolve() for folder in folders for name in names for found in folder.rglob(name)})


def newest(results: Iterable[Found]) -> set[Path]:
    """The folders whose results are to be recorded: all that crashed, and of equal ones that which started last."""
    last: dict[tuple[str, str], Found] = {}
    crashed = set()
    for found in results:
        if found.status != "FINISHED":
            crashed.add(found.folder)
        elif (before := last.get((found.experiment, found.key))) is None or found.started >= before.started:
            last[found.experiment, found.key] = found
    return crashed | {found.folder for found in last.values()}
