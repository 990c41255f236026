"""Data sets of the Hugging Face hub, by its package `datasets`, which is imported when something is fetched."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from study.errors import UsageError

PARTS = {"train": "train", "validation": "valid", "test": "test"}
"""The names of parts in CodeXGLUE's files, by those on the hub."""


def hub_rows(*names: str) -> Mapping[str, Iterable[Mapping[str, Any]]]:
    """The rows of a data set of the hub, by the part: train, valid, test.

    names: of the data set, and of its configuration where it has several.

    Raises:
        UsageError: `datasets` is not installed, or the hub does not answer.
    """
    try:
        from datasets import load_dataset
    except ImportError as problem:
        raise UsageError("dataset.download=true: takes the package datasets: pip install datasets") from problem
    try:
        found = load_dataset(*names)
    except Exception as problem:  # of many kinds: network, hub, and files
        reason = " ".join(str(problem).split())
        raise UsageError(f"dataset.download=true: {names[0]} could not be fetched ({reason})") from problem
    return {PARTS[part]: rows for part, rows in found.items() if part in PARTS}
