"""Anyone's token sequences: lists of ids in NumPy's, JSON-lines, CSV or Parquet files."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor

from study.data.contents import Contents, Items, contents_of
from study.data.labels import Column, numbered
from study.data.module import Limit
from study.data.part_files import Stamped, arrays_in, by_part, found, split_files
from study.data.parted import Parted
from study.data.table import frame_of
from study.errors import UsageError, nearest
from study.runtime.settings import checked_call

if TYPE_CHECKING:
    import pandas as pd

ARRAYS = ".npz"
LINES = (".jsonl", ".csv", ".parquet")
Columns = dict[str, tuple[Iterable[Any], Column]]
"""By the part: sequences of ids, and labels."""


class Tokens(Parted):
    """Sequences of token ids, [N, length] int64, and their labels.

    file: a .npz file with the arrays `column` and `label` (or train_..., test_... and so on), or a .jsonl, .csv or
    .parquet file with these columns, or a folder with train.jsonl, test.jsonl and so on. A sequence is a list of ids,
    in CSV a text such as "12 7 3". Splits that are missing are drawn, see `drawing.completed`.
    name: what results call it, None for the name of the file; length: of every sequence, which is cut at its end or
    filled up with `padding`, None: that of the longest; vocabulary: number of different ids, auto: the largest that
    there is and one; classes: the labels in the order of the network's outputs, None: sorted.
    """

    name = "tokens"

    @checked_call
    def __init__(
        self,
        *,
        file: str | None = None,
        name: str | None = None,
        column: str = "tokens",
        label: str = "labels",
        length: Annotated[int, Field(ge=1)] | None = None,
        padding: Annotated[int, Field(ge=0)] = 0,
        vocabulary: Annotated[int, Field(ge=2)] | Literal["auto"] = "auto",
        classes: list[str | int] | None = None,
        limit: Limit = None,
    ) -> None:
        super().__init__(limit=limit, epsilon=None, mean=None, std=None)
        self.file = file
        self.title = name or (Path(file).stem if file else self.name)
        self.columns = column, label
        self.length = length
        self.padding = padding
        self.vocabulary = vocabulary
        self.classes = None if classes is None else tuple(map(str, classes))

    @property
    def contents(self) -> Contents:
        path = found(self.file, "dataset.file", (ARRAYS, *LINES))
        files = split_files(path, "dataset.file", LINES)
        return _contents(files, *self.columns, self.length, self.padding, self.classes)

    @property
    def where(self) -> str:
        return f"dataset.file={self.file}"

    @property
    def num_tokens(self) -> int:
        """Number of different ids."""
        return self._largest + 1 if self.vocabulary == "auto" else int(self.vocabulary)

    @property
    def follows(self) -> dict[str, Any]:
        """As `DataModule.follows`; `num_tokens`, `padding`, the id that fills sequences up, and their `length`."""
        held = {"num_tokens": self.num_tokens, "padding": self.padding, "length": self.input_shape[0]}
        return super().follows | held

    @property
    def presentation(self) -> list[Any]:
        """As `DataModule.presentation`; what ids mean belongs to it."""
        return [*super().presentation, self.num_tokens, self.padding]

    @property
    def _largest(self) -> int:
        """The largest id, at least 1: a network is tried with that."""
        return max(1, self.padding, *(int(items.inputs.max()) for items in self.contents.parts.values()))

    def check(self) -> None:
        """Raise UsageError if the sequences, or the settings beside them, cannot be used."""
        super().check()
        if self._largest >= self.num_tokens:
            raise UsageError(
                f"dataset.vocabulary={self.vocabulary}: there is the id {self._largest}, and ids go from 0 to "
                f"{self.num_tokens - 1}: set at least {self._largest + 1}"
            )


@lru_cache(maxsize=2)
def _contents(
    files: Stamped, column: str, label: str, length: int | None, padding: int, classes: tuple[str, ...] | None
) -> Contents:
    """Kept, as every job of a sweep asks for it."""
    where = f"dataset.file={files[0][1]}"
    parts = _columns(files, column, label)
    sequences = {part: [_ids(cell, where) for cell in cells] for part, (cells, _) in parts.items()}
    longest = max((len(ids) for part in sequences.values() for ids in part), default=0)
    labels, names = numbered({part: held for part, (_, held) in parts.items()}, classes, f"dataset.label={label}")
    items = {
        part: Items(_filled(ids, length or max(longest, 1), padding), labels[part]) for part, ids in sequences.items()
    }
    return contents_of(items, where=where, kind="tokens", classes=names)


def _columns(files: Stamped, column: str, label: str) -> Columns:
    """The two columns of each part."""
    path = files[0][1]
    if path.suffix.lower() == ARRAYS:
        where = f"dataset.file={path}"
        held = by_part(arrays_in(path, "dataset.file"), (column, label), (), where)
        return {part: (arrays[column], arrays[label]) for part, arrays in held.items()}
    return {part: _of_frame(file, column, label) for part, file, _ in files}


def _of_frame(file: Path, column: str, label: str) -> tuple[Iterable[Any], Column]:
    frame = _json_lines(file) if file.suffix.lower() == ".jsonl" else frame_of(file)
    for setting, name in (("column", column), ("label", label)):
        if name not in frame.columns:
            known = nearest(name, map(str, frame.columns))
            raise UsageError(f"dataset.{setting}={name}: {file} has no such column; {known}")
        if missing := int(frame[name].isna().sum()):
            raise UsageError(
                f"dataset.{setting}={name}: {missing:,} lines of {file} lack it; fill it in, or take them out"
            )
    return frame[column].tolist(), frame[label].to_numpy()


def _json_lines(file: Path) -> pd.DataFrame:
    import pandas as pd

    entries = []
    with file.open(encoding="utf-8") as lines:
        for number, line in enumerate(lines, 1):
            try:
                entry = json.loads(line) if line.strip() else None
            except ValueError as problem:
                raise UsageError(f"dataset.file: line {number} of {file} is no JSON ({problem})") from problem
            if isinstance(entry, dict):
                entries.append(entry)
            elif entry is not None:
                raise UsageError(f"dataset.file: line {number} of {file} is no JSON object")
    return pd.DataFrame(entries)


def _ids(cell: Any, where: str) -> NDArray[np.int64]:
    """The ids of one sequence: a list, an array, or a text that separates them by spaces or commas."""
    values = re.split(r"[\s,;]+", cell.strip(" []()")) if isinstance(cell, str) else cell
    try:
        ids = np.asarray([value for value in values if value != ""])
        whole = ids.astype(np.int64)
        if ids.ndim != 1 or (ids.dtype.kind == "f" and not np.array_equal(ids, whole)):
            raise ValueError
    except (TypeError, ValueError) as problem:
        raise UsageError(
            f"{where}: {str(cell)[:40]!r} is no list of token ids; turn text into ids with the network's tokenizer"
        ) from problem
    return whole


def _filled(sequences: list[NDArray[np.int64]], length: int, padding: int) -> Tensor:
    """[N, length] int64: cut at the end, or filled up."""
    filled = torch.full((len(sequences), length), padding, dtype=torch.int64)
    for row, ids in zip(filled, sequences, strict=True):
        row[: min(length, len(ids))] = torch.from_numpy(ids[:length])
    return filled
