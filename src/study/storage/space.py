"""A disk or a quota that is full: recognised in whatever a library makes of it, and told in one sentence."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

FULL = (errno.ENOSPC, errno.EDQUOT)
MARKS = (*(f"(os error {number})" for number in FULL), "database or disk is full")
"""What safetensors and sqlite say, which raise no OSError; MLflow passes sqlite's words on in an error of its own."""


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """What fails in the block because the disk is full becomes an OSError that names `path`, with the same number."""
    try:
        yield
    except Exception as error:
        number = _full(error)
        if number is None:
            raise
        raise OSError(number, os.strerror(number), str(path)) from error


def full_disk(error: BaseException, place: Path | None = None) -> str | None:
    """One sentence if an exception, or one that it came from, is that of a full disk; else None.

    place: where the writing went, if the exception itself does not say so.
    """
    link: BaseException | None = error
    while link is not None:
        if _full(link) is not None:
            name = getattr(link, "filename", None) or place
            what = f"{name} could not be written" if name else str(link).splitlines()[0]
            return (
                f"the disk (or a quota) is full: {what}; free some space and repeat the command, it goes on from here"
            )
        link = link.__cause__ or (None if link.__suppress_context__ else link.__context__)
    return None


def _full(error: BaseException) -> int | None:
    """The system's number of a full disk, if the exception itself is of one."""
    if isinstance(error, OSError) and error.errno is not None:
        return error.errno if error.errno in FULL else None
    return errno.ENOSPC if any(mark in str(error) for mark in MARKS) else None
