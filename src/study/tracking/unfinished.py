"""Jobs that left no result: those that still run, were cut off, or were not run because they were finished before."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from study.storage.files import is_locked, locked, write_atomically
from study.storage.paths import multirun
from study.tracking.folders import NOTES

RUNNING, NOT_RUN = ".running", "finished-before.txt"
"""In a job's folder: the file that is locked while the job runs; that of a job that was not run again."""


@dataclass(frozen=True)
class Unfinished:
    """A job without a result; state: `still running`, `cut off` or `finished before`."""

    folder: Path
    state: str

    @staticmethod
    def of(folder: Path) -> Unfinished:
        """The job that left no result in a folder; one on a machine without shared locks seems to be cut off."""
        if (folder / NOT_RUN).exists():
            return Unfinished(folder, "finished before")
        return Unfinished(folder, "still running" if is_locked(folder / RUNNING) else "cut off")

    @property
    def overrides(self) -> str:
        """The arguments it was started with, as Hydra noted them; empty if it did not come to that."""
        import yaml

        try:
            given = yaml.safe_load((self.folder / NOTES / "overrides.yaml").read_text())
        except (OSError, yaml.YAMLError):
            return ""
        return " ".join(map(str, given)) if isinstance(given, list) else ""

    @property
    def removable(self) -> bool:
        """Whether the folder is one that Hydra made for a job, and the job does not run."""
        return self.state != "still running" and (self.folder / NOTES).is_dir()

    def remove(self) -> None:
        """Remove the folder, and the folders of its sweep above it that are empty then."""
        shutil.rmtree(self.folder)
        for above in self.folder.parents:
            if multirun() not in above.parents:
                return
            try:
                above.rmdir()
            except OSError:  # not empty
                return


@contextmanager
def running(folder: Path) -> Iterator[None]:
    """A job runs in this folder: whoever asks about it meanwhile, or after it was killed, can tell the two apart."""
    with locked(folder / RUNNING):
        try:
            yield
        finally:
            (folder / RUNNING).unlink(missing_ok=True)


def not_run(folder: Path) -> None:
    """Note that the job of this folder was finished before, and therefore leaves no result here."""
    write_atomically(folder / NOT_RUN, "An equal job was finished before; its result lies in the folder of that one.\n")
