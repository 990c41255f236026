"""The files of a data set: one that holds everything, or a folder with one for each split."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from study.data.module import SPLITS
from study.errors import UsageError

Stamped = tuple[tuple[str, Path, int], ...]
"""Part, file, and when that was changed: what the content of files is kept under."""


def found(file: str | None, setting: str, suffixes: Sequence[str]) -> Path:
    """The file or folder that a setting names; raises UsageError if it is not there, or of another kind."""
    kinds = " or ".join(f"FILE{suffix}" for suffix in suffixes)
    if file is None:
        raise UsageError(f"{setting} is not set: {setting}={kinds}, or a folder of such files")
    path = Path(file).expanduser().absolute()
    if not path.exists():
        raise UsageError(f"{setting}={file}: there is no such file or folder")
    if not path.is_file() and not path.is_dir():
        raise UsageError(f"{setting}={file}: is neither a file nor a folder; {kinds} or a folder of them is taken")
    if path.is_file() and path.suffix.lower() not in suffixes:
        raise UsageError(f"{setting}={file}: it takes {kinds}, or a folder of such files")
    return path


def split_files(path: Path, setting: str, suffixes: Sequence[str]) -> Stamped:
    """A file as the train part; of a folder the file of each split, train at least."""
    if path.is_file():
        return stamped({"train": path})
    parts = {}
    for name in SPLITS:
        here = [path / f"{name}{suffix}" for suffix in suffixes if (path / f"{name}{suffix}").is_file()]
        if len(here) > 1:
            raise UsageError(f"{setting}={path}: holds {here[0].name} and {here[1].name}; one of them is enough")
        if here:
            parts[name] = here[0]
    if "train" not in parts:
        kinds = " or ".join(f"train{suffix}" for suffix in suffixes)
        raise UsageError(f"{setting}={path}: the folder holds no {kinds}; its files are {', '.join(SPLITS)}")
    return stamped(parts)


def stamped(parts: dict[str, Path]) -> Stamped:
    return tuple((name, path, path.stat().st_mtime_ns) for name, path in parts.items())


def arrays_in(path: Path, setting: str) -> dict[str, NDArray[Any]]:
    """The arrays of a .npz file, or of the .npy files of a folder, by name; none that could run code.

    Raises:
        UsageError: A file cannot be read.
    """
    arrays: dict[str, NDArray[Any]] = {}
    files = [path] if path.is_file() else sorted(path.glob("*.npy"))
    for file in files:
        if not file.is_file():
            raise UsageError(f"{setting}: {file} is no file that can be read; take it away")
        try:
            content = np.load(file, allow_pickle=False)
            named = {file.stem: content} if isinstance(content, np.ndarray) else {key: content[key] for key in content}
        except Exception as problem:  # damaged archives raise whatever zipfile and numpy meet first
            reason = " ".join(str(problem).split())
            raise UsageError(
                f"{setting}: {file} cannot be read ({reason}); write it with numpy.savez or numpy.save, "
                "with arrays of numbers or of text, not of objects"
            ) from problem
        arrays |= named
    if not arrays:
        raise UsageError(f"{setting}={path}: holds no arrays")
    return arrays


def by_part(
    arrays: dict[str, NDArray[Any]], required: Sequence[str], optional: Sequence[str], where: str
) -> dict[str, dict[str, NDArray[Any]]]:
    """Arrays by split and by name: `inputs` is of the train part, `test_inputs` of test.

    Raises:
        UsageError: A name is of no use, or one that is required is missing.
    """
    names = [*required, *optional]
    parts: dict[str, dict[str, NDArray[Any]]] = {}
    hint = (
        f"the arrays are {' and '.join(required)}, or train_{required[0]}, test_{required[0]} and so on for each split"
    )
    for key, array in arrays.items():
        part, _, name = key.partition("_") if key.partition("_")[0] in SPLITS else ("", "", key)
        if name not in names:
            raise UsageError(f"{where}: holds {key}; {hint}")
        parts.setdefault(part, {})[name] = array
    if "" in parts and len(parts) > 1:
        raise UsageError(f"{where}: holds {next(iter(parts['']))} beside arrays of splits; {hint}")
    for part, held in parts.items():
        for name in required:
            if name not in held:
                raise UsageError(f"{where}: holds no {f'{part}_' if part else ''}{name}; {hint}")
    return {part or "train": held for part, held in parts.items()}
