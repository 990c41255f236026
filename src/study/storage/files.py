"""Files that are never half written, and locks between processes. Nothing here imports torch."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def write_atomically(path: Path, content: str | bytes) -> None:
    """Write a file so that a reader, or a crash, finds the old content or the new one and nothing between."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = _beside(path)
    try:
        with temporary.open("wb") as file:
            file.write(content.encode() if isinstance(content, str) else content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def new_folder(final: Path) -> Iterator[Path]:
    """A temporary folder beside `final` that takes its name when the block ends without an exception.

    A folder that has the name already is moved out of the way first, so that it is never seen half removed.
    """
    final.parent.mkdir(parents=True, exist_ok=True)
    temporary, old = _beside(final), _beside(final)
    temporary.mkdir()
    try:
        yield temporary
        if final.exists():
            final.rename(old)
        temporary.rename(final)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold an exclusive lock between processes; it is released by the system if the process dies."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def is_locked(path: Path) -> bool:
    """Whether another process holds `locked(path)` at this moment."""
    if not path.exists():
        return False
    with path.open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        return False


def linked(source: Path, target: Path) -> None:
    """Give the file `source` a second name, `target`, or copy it where the file system cannot.

    Both names are of one file, stored once: replace it, never write into it.
    """
    try:
        target.hardlink_to(source)
    except OSError as refusal:
        if not source.is_file() or target.exists():
            raise
        if refusal.errno not in (errno.EXDEV, errno.EPERM, errno.EMLINK, errno.ENOTSUP, errno.EACCES, errno.ENOSYS):
            raise
        shutil.copyfile(source, target)


def key_of(value: object) -> str:
    """A short key (20 hexadecimal digits) of a JSON-like value; equal values have equal keys."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:20]


def _beside(path: Path) -> Path:
    """A name that nobody uses, in the same folder (and so on the same disk)."""
    return path.with_name(f".{path.name}.{uuid.uuid4().hex[:12]}")
