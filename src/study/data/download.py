"""Fetching a data set from where its authors keep it: whole, or not at all."""

from __future__ import annotations

import hashlib
import logging
import tarfile
import zlib
from collections.abc import Callable
from http.client import HTTPException
from pathlib import Path
from typing import NamedTuple
from urllib.error import URLError
from urllib.request import Request, urlopen
from zipfile import BadZipFile

from study.errors import UsageError
from study.runtime.progress import Progress
from study.storage.files import is_locked, locked, remove_remains, staged
from study.storage.space import full_disk

SECONDS = 60.0
"""Without a byte, after which a server is taken for silent."""
BLOCK = 2**18
"""Bytes that are read at a time."""
HEADERS = {"User-Agent": "repair-study"}  # some servers refuse Python's own
BROKEN = (OSError, EOFError, BadZipFile, tarfile.TarError, zlib.error)
"""What unpacking an archive raises, and a folder that cannot be written."""

log = logging.getLogger(__name__)


class Remote(NamedTuple):
    """A file on the net.

    urls: where it is, in the order in which they are asked; md5: of its content, None where nobody states it.
    """

    urls: tuple[str, ...]
    md5: str | None = None


class NotFetched(Exception):
    """A file did not arrive, or not as it should be: the message names its URL and says why."""


def fetched(final: Path, by_hand: str, fetch: Callable[[Path], object]) -> None:
    """Fetch a file or a folder unless it is there; what breaks off leaves nothing that could be taken for the whole.

    Args:
        final: the file or folder. Of several processes that want it one fetches it, the others wait.
        by_hand: what a user who got it by hand does with it ("put it into FOLDER"), for a refusal.
        fetch: puts a file or folder of the same name into the empty folder that it is given, and verifies it.

    Raises:
        UsageError: It could not be fetched.
        OSError: The disk is full.
    """
    lock = final.parent / f".{final.name}.lock"
    try:
        if is_locked(lock):
            log.info("%s: another process fetches it; waiting for that", final)
        with locked(lock):
            if final.exists():
                return
            remove_remains(final)
            with staged(final) as room:
                fetch(room)
    except (NotFetched, *BROKEN) as problem:
        if full_disk(problem):
            raise
        told = f"{problem}" if isinstance(problem, NotFetched) else f"{final} could not be made ({_reason(problem)})"
        raise UsageError(
            f"dataset.download=true: {told}; get it by hand and {by_hand}, or set dataset.root=FOLDER or STUDY_DATA to "
            "where it lies"
        ) from problem


def download(remote: Remote, name: str, folder: Path) -> None:
    """Write a file of the net into a folder under a name of ours; it is verified as far as size and MD5 are known.

    Raises:
        NotFetched: It did not arrive whole from any of its places.
    """
    refusals = []
    for url in remote.urls:
        try:
            digest = _copied(url, folder / name)
            if remote.md5 not in (None, digest):
                raise OSError(f"its MD5 is {digest} and should be {remote.md5}: damaged, or another file")
            return
        except (OSError, HTTPException) as problem:
            if full_disk(problem):
                raise
            refusals.append(f"{url} could not be fetched ({_reason(problem)})")
    raise NotFetched(", nor could it from elsewhere: ".join(refusals))


def _copied(url: str, target: Path) -> str:
    """The MD5 of what is at a URL, written to `target`; raises OSError or HTTPException."""
    digest, size = hashlib.md5(usedforsecurity=False), 0
    with urlopen(Request(url, headers=HEADERS), timeout=SECONDS) as answer:
        told = answer.headers.get("Content-Length")
        whole = int(told) if told and told.isdecimal() else None
        mib = None if whole is None else whole / 2**20
        with target.open("wb") as file, Progress(f"fetch {target.name}", mib, "MiB") as progress:
            while block := answer.read(BLOCK):
                file.write(block)
                digest.update(block)
                size += len(block)
                progress.advance(len(block) / 2**20)
    if whole not in (None, size):
        raise OSError(f"the connection ended after {size:,} of {whole:,} bytes")
    return digest.hexdigest()


def _reason(problem: Exception) -> str:
    told = problem.reason if type(problem) is URLError else problem  # the reason alone is no "<urlopen error ...>"
    return " ".join(str(told).split()) or type(problem).__name__
