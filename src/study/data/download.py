"""Fetching a data set from where its authors keep it: whole, or not at all."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from http.client import HTTPException
from pathlib import Path
from zipfile import BadZipFile

from study.errors import UsageError
from study.storage.files import locked

BROKEN = (RuntimeError, OSError, HTTPException, EOFError, BadZipFile)
"""What torchvision raises where a download breaks off, or its checksum is not the right one."""


def fetched(final: Path, fetch: Callable[[Path], object]) -> None:
    """Fetch a file or a folder unless it is there; what breaks off leaves nothing that could be taken for the whole.

    Args:
        final: the file or folder. Of several processes that want it one fetches it, the others wait.
        fetch: puts a file or folder of the same name into the empty folder that it is given, and verifies it.

    Raises:
        UsageError: It could not be fetched.
    """
    try:
        with locked(final.parent / f".{final.name}.lock"):
            if final.exists():
                return
            with tempfile.TemporaryDirectory(prefix=f".{final.name}.", dir=final.parent) as folder:
                fetch(Path(folder))
                (Path(folder) / final.name).rename(final)
    except BROKEN as problem:
        reason = " ".join(str(problem).split()) or type(problem).__name__
        raise UsageError(
            f"dataset.download=true: {final} could not be fetched ({reason}); get it by hand, and set "
            "dataset.root=FOLDER or STUDY_DATA to where it lies"
        ) from problem
