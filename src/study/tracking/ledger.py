"""The ledger of finished jobs: where each result lies, whatever store it was recorded in."""

from __future__ import annotations

import contextlib
import logging
from pathlib import Path

from study.errors import Damaged, UsageError
from study.storage.checksums import read_signed, signed
from study.storage.files import set_aside, write_atomically
from study.storage.paths import cache
from study.tracking.result import Result
from study.tracking.store import Store

log = logging.getLogger(__name__)

ALREADY = "finished already (force=true runs it again)"
"""What is said of a job that is finished in its own store."""


def enter(key: str, folder: Path) -> None:
    """Note that the result of the job with this key lies in `folder`."""
    write_atomically(_entry(key), signed({"folder": str(folder)}))


def folder_of(key: str) -> Path | None:
    """The folder of a finished job's result, None if there is none that can be read (it may be of an older version).

    A damaged entry is named in a warning and set aside; its job is not known to be finished.
    """
    entry = _entry(key)
    if not entry.exists():
        return None
    try:
        folder = Path(read_signed(entry)["folder"])
    except Damaged as damage:
        with contextlib.suppress(FileNotFoundError):  # another process was faster
            log.warning("%s; it is set aside as %s", damage, set_aside(entry).name)
        return None
    try:
        return folder if Result.read(folder).status == "FINISHED" else None
    except (FileNotFoundError, UsageError):
        return None


def finished(key: str, store: Store) -> str:
    """How a job is known to be finished, empty if it is not; one of another store is recorded in this one."""
    if store.finished(key):
        return ALREADY
    folder = folder_of(key)
    if folder is None:
        return ""
    store.write(folder)
    return "finished elsewhere; recorded in this store"


def _entry(key: str) -> Path:
    return cache() / "jobs" / f"{key}.json"
