"""Files that are never half written, whatever kills the writer or fills the disk, and locks between processes.

Nothing here imports torch.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import json
import os
import re
import shutil
import time
import uuid
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from study.errors import UsageError
from study.storage.space import full_disk, writing

ABANDONED = 24 * 3600.0
"""Seconds after which a temporary file is taken for one of a process that was killed, where no lock says so."""
SYNCS = 16
"""Files that are written to the disk at a time."""


def write_atomically(path: Path, content: str | bytes) -> None:
    """Write a file so that a reader, or a crash, finds the old content or the new one and nothing between."""
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        remove_remains(path, ABANDONED)
        temporary = _beside(path)
        try:
            with temporary.open("wb") as file:
                file.write(content.encode() if isinstance(content, str) else content)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
            _sync(path.parent)
        finally:
            temporary.unlink(missing_ok=True)


def write_output(folder: Path, contents: Mapping[str, str | bytes]) -> None:
    """Write files by their names into the folder that a command was given as `--output`.

    Raises:
        UsageError: The folder cannot be written to.
        OSError: The disk is full.
    """
    try:
        for name, content in contents.items():
            write_atomically(folder / name, content)
    except OSError as error:
        if full_disk(error):
            raise
        raise UsageError(f"--output: cannot write to {folder}: {error.strerror}") from error


def plain_name(text: str) -> str:
    """A text as a part of the name of a file: letters and digits, and `_` in place of what else there is."""
    return re.sub("[^A-Za-z0-9]+", "_", text)


@contextlib.contextmanager
def new_folder(final: Path) -> Iterator[Path]:
    """A temporary folder beside `final` that takes its name when the block ends without an exception.

    A folder that has the name already is moved out of the way first, so that it is never seen half removed. All that
    is in the new one has reached the disk before it takes the name.
    """
    temporary, old = _beside(final), _beside(final)
    try:
        with writing(final):
            final.parent.mkdir(parents=True, exist_ok=True)
            remove_remains(final, ABANDONED)
            temporary.mkdir()
            yield temporary
            _sync_all(temporary)
            if final.exists():
                final.rename(old)
            temporary.rename(final)
            _sync(final.parent)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)


@contextlib.contextmanager
def staged(final: Path) -> Iterator[Path]:
    """An empty temporary folder beside `final`, whose name is free: the file or folder of that name that the block puts
    into it is moved to `final` when the block ends without an exception, after it has reached the disk; the rest goes.
    """
    room = _beside(final)
    try:
        with writing(final):
            final.parent.mkdir(parents=True, exist_ok=True)
            room.mkdir()
            yield room
            _sync_all(room / final.name)
            (room / final.name).rename(final)
            _sync(final.parent)
    finally:
        shutil.rmtree(room, ignore_errors=True)


def remove_remains(path: Path, age: float = 0.0) -> None:
    """Remove temporary files and folders that killed writers of `path` left beside it.

    age: seconds since they were changed, at least; 0 is for whoever holds the lock of `path`, beside whom none writes.
    """
    if not path.parent.is_dir():
        return
    with os.scandir(path.parent) as entries:
        remains = [entry for entry in entries if entry.name.startswith(f".{path.name}.")]
    for entry in remains:
        with contextlib.suppress(FileNotFoundError):  # its writer lives and has just moved it into place
            if _is_temporary(entry.name, path) and time.time() - entry.stat(follow_symlinks=False).st_mtime >= age:
                _remove(Path(entry.path))


def set_aside(path: Path) -> Path:
    """Rename a damaged file or folder to `NAME.damaged`, in place of an earlier one; returns the new path.

    Other names of the same files keep their content.
    """
    aside = path.with_name(f"{path.name}.damaged")
    if path.exists():
        _remove(aside)
        path.rename(aside)
    return aside


@contextlib.contextmanager
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


def _is_temporary(name: str, path: Path) -> bool:
    """Whether a name is one that `_beside` gave for `path`."""
    return re.fullmatch(rf"\.{re.escape(path.name)}\.[0-9a-f]{{12}}", name) is not None


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def _sync_all(path: Path) -> None:
    """`_sync` of a file, or of a folder and all that is in it."""
    with ThreadPoolExecutor(SYNCS) as pool:  # a disk takes many at once in the time of one
        list(pool.map(_sync, [path, *path.rglob("*")]))


def _sync(path: Path) -> None:
    """Have the system write a file, or the names in a folder, to the disk now."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as refusal:
        if refusal.errno != errno.EINVAL:  # some network file systems cannot do it for a folder
            raise
    finally:
        os.close(descriptor)
