"""Checksums of what is stored, so that a damaged file is named and never used.

A folder that others rely on is sealed: one file in it, in the format of `sha256sum -c`, holds the SHA-256 of every
other. A small file on its own carries its checksum as one more field.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from study.errors import Damaged
from study.storage.files import set_aside

CHECKSUMS = "checksums.sha256"
FIELD = "sha256"
"""Of a file that carries its own checksum."""

log = logging.getLogger(__name__)


def seal(folder: Path, known: Mapping[str, str] = {}) -> None:
    """Write the checksums of the files in `folder`, which is complete otherwise.

    known: checksums by name that hold already, as of files linked from a sealed folder.
    """
    names = sorted(file.name for file in folder.iterdir() if file.is_file() and file.name != CHECKSUMS)
    digests = {name: known.get(name) or digest_of(folder / name) for name in names}
    (folder / CHECKSUMS).write_text(_with_own("".join(f"{digest}  {name}\n" for name, digest in digests.items())))


def checksums(folder: Path) -> dict[str, str]:
    """The checksums that a sealed folder holds, by file name; raises Damaged if they are not what was written."""
    path = folder / CHECKSUMS
    try:
        text = path.read_bytes().decode(errors="replace")
    except FileNotFoundError:
        raise Damaged(f"{path} is missing") from None
    lines = text.rpartition("#")[0]
    if text != _with_own(lines):
        raise Damaged(f"{path} is damaged: its content is not what was written (SHA-256)")
    return {name: digest for digest, _, name in (line.partition("  ") for line in lines.splitlines())}


def verify(folder: Path, names: Collection[str] = ()) -> None:
    """Check files of a sealed folder, all of them unless some are named; what the seal does not know is passed over.

    Raises:
        Damaged: A file is missing or not what was written; the message names it.
    """
    for name, digest in checksums(folder).items():
        path = folder / name
        if names and name not in names:
            continue
        if not path.is_file():
            raise Damaged(f"{path} is missing")
        if not path.stat().st_size:
            raise Damaged(f"{path} is damaged: it is empty")
        if digest_of(path) != digest:
            raise Damaged(f"{path} is damaged: its content is not what was written (SHA-256)")


def is_kept(folder: Path) -> bool:
    """Whether a sealed folder is there, and whole; a damaged one is named in a warning and set aside.

    The caller holds the lock of the folder and makes it again.
    """
    if not folder.exists():
        return False
    try:
        verify(folder)
    except Damaged as damage:
        log.warning("%s; %s is set aside as %s and made again", damage, folder.name, set_aside(folder).name)
        return False
    return True


def signed(fields: Mapping[str, Any]) -> str:
    """The text (JSON) of a small file that carries its own checksum."""
    return json.dumps({**fields, FIELD: _digest_of_fields(fields)})


def read_signed(path: Path) -> dict[str, Any]:
    """The fields of a file that `signed` made; raises Damaged if it is not what was written."""
    try:
        fields = json.loads(path.read_text())
        digest = fields.pop(FIELD)
    except (ValueError, KeyError, AttributeError, TypeError):
        raise Damaged(f"{path} is damaged: it holds no fields with their checksum") from None
    if digest != _digest_of_fields(fields):
        raise Damaged(f"{path} is damaged: its content is not what was written (SHA-256)")
    return dict(fields)


def digest_of(file: Path) -> str:
    """SHA-256 of a file, in hexadecimal digits."""
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def _with_own(lines: str) -> str:
    """The lines, and as a comment their own checksum: a file cut off between two lines would look whole."""
    return f"{lines}# {hashlib.sha256(lines.encode()).hexdigest()}\n"


def _digest_of_fields(fields: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(fields, sort_keys=True).encode()).hexdigest()
