"""Anyone's table: rows of numbers, text and truth values in CSV or Parquet files."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from study.data.contents import Contents, Items, contents_of
from study.data.labels import combined, numbered
from study.data.module import Limit
from study.data.part_files import Stamped, found, split_files
from study.data.parted import Parted
from study.data.scaling import Scale
from study.errors import UsageError, nearest
from study.runtime.settings import checked_call

if TYPE_CHECKING:
    import pandas as pd

SUFFIXES = (".csv", ".parquet")
MOST_TEXTS = 256
FEW_TEXTS = 20
"""Different texts of a column: one with more than the first is a name or an identifier, and so is one with more than
the second that are more than half as many as the rows."""


class Table(Parted):
    """The columns of a CSV or Parquet file, or of a folder with train.csv, test.csv and so on.

    Inputs are the columns in the order of the file but for the label and those in `drop`: numbers as they are, a column
    of text or truth values as one column of 0 and 1 for each of its values, in their order. Splits that are missing are
    drawn, see `drawing.completed`.
    name: what results call it, None for the name of the file; label: the column to predict; group: the column of the
    sensitive group, or several columns, of whose values each combination that occurs is a group ("female, black"); they
    stay inputs unless they are in `drop`; classes: the values of the label in the order of the network's outputs, None:
    sorted; mean, std: see `Parted`; epsilon: radius of attacks on the columns of numbers, in their own units.
    """

    name = "table"

    @checked_call
    def __init__(
        self,
        *,
        file: str | None = None,
        name: str | None = None,
        label: str | None = None,
        group: str | list[str] | None = None,
        drop: list[str] = [],  # noqa: B006 (pydantic copies it)
        classes: list[str | int] | None = None,
        mean: Scale = "auto",
        std: Scale = "auto",
        limit: Limit = None,
        epsilon: Annotated[float, Field(gt=0)] | None = None,
    ) -> None:
        super().__init__(limit=limit, epsilon=epsilon, mean=mean, std=std)
        self.file = file
        self.title = name or (Path(file).stem if file else self.name)
        self.label = label
        self.group = (group,) if isinstance(group, str) else tuple(group or ())
        self.drop = tuple(drop)
        self.classes = None if classes is None else tuple(map(str, classes))

    @property
    def contents(self) -> Contents:
        path = found(self.file, "dataset.file", SUFFIXES)
        files = split_files(path, "dataset.file", SUFFIXES)
        return _contents(files, self.label, self.group, self.drop, self.classes)

    @property
    def where(self) -> str:
        return f"dataset.file={self.file}"


@lru_cache(maxsize=2)
def _contents(
    files: Stamped, label: str | None, group: tuple[str, ...], drop: tuple[str, ...], classes: tuple[str, ...] | None
) -> Contents:
    """Kept, as every job of a sweep asks for it."""
    frames = {part: frame_of(path) for part, path, _ in files}
    path, columns = files[0][1], list(frames["train"].columns)
    if label is None:
        raise UsageError(
            f"dataset.label is not set: it names the column to predict; the columns are {_listed(columns)}"
        )
    named = [("label", label), *(("group", name) for name in group), *(("drop", name) for name in drop)]
    for setting, name in named:
        if name not in columns:
            raise UsageError(f"dataset.{setting}={name}: {path} has no such column; {nearest(name, columns)}")
    inputs = [name for name in columns if name != label and name not in drop]
    read = [name for name in columns if name in (*inputs, label, *group)]
    _check(frames, read, {part: path for part, path, _ in files})
    labels, names = numbered(_column(frames, label), classes, f"dataset.label={label}")
    groups, group_names = combined({f"dataset.group={name}": _column(frames, name) for name in group})
    rows, numbers = encoded(frames, inputs, path)
    items = {part: Items(rows[part], labels[part], groups.get(part)) for part in frames}
    return contents_of(
        items, where=f"dataset.file={path}", kind="table", classes=names, groups=group_names, columns=numbers
    )


def frame_of(path: Path) -> pd.DataFrame:
    """A CSV or Parquet file; raises UsageError if it cannot be read."""
    import pandas as pd

    try:
        return pd.read_parquet(path) if path.suffix.lower() == ".parquet" else pd.read_csv(path)
    except Exception as problem:  # pandas and pyarrow raise errors of many kinds
        raise UsageError(f"dataset.file: {path} cannot be read ({' '.join(str(problem).split())})") from problem


def _check(frames: dict[str, pd.DataFrame], read: list[str], paths: dict[str, Path]) -> None:
    """Refuse columns that are missing in one file, have no name, or lack values."""
    for part, frame in frames.items():
        if lacking := [name for name in read if name not in frame.columns]:
            raise UsageError(f"dataset.file: {paths[part]} has no column {lacking[0]}; {paths['train']} has one")
        if nameless := [name for name in read if str(name).startswith("Unnamed: ")]:
            raise UsageError(
                f"dataset.file: a column of {paths[part]} has no name, as row numbers have none: "
                f"set dataset.drop=['{nameless[0]}'], or give it a name"
            )
        missing = {name: int(frame[name].isna().sum()) for name in read if frame[name].isna().any()}
        if missing:
            named = ", ".join(f"{name} ({count:,})" for name, count in missing.items())
            raise UsageError(
                f"dataset.file: {paths[part]} lacks values, in the column(s) {named}: fill them in, take the rows out, "
                "or leave columns out with dataset.drop"
            )


def encoded(
    frames: dict[str, pd.DataFrame], inputs: list[str], path: Path
) -> tuple[dict[str, Tensor], tuple[int, ...]]:
    """Rows [N, columns] float32 of each part, and the places of the columns that hold numbers.

    inputs: the columns to encode, in this order; path: of a file, for a refusal.

    Raises:
        UsageError: A column holds times or too many different texts, or there is no column.
    """
    import pandas as pd

    whole = pd.concat(list(frames.values()), ignore_index=True)
    blocks: list[np.ndarray] = []
    numbers: list[int] = []
    for name in inputs:
        column = whole[name]
        if pd.api.types.is_numeric_dtype(column) and not pd.api.types.is_bool_dtype(column):
            numbers.append(sum(block.shape[1] for block in blocks))
            blocks.append(column.to_numpy(np.float32)[:, None])
        else:
            blocks.append(_one_hot(column, path))
    if not blocks:
        raise UsageError(f"dataset.file={path}: no column is left to predict from")
    rows = torch.from_numpy(np.concatenate(blocks, axis=1))
    sizes = [len(frame) for frame in frames.values()]
    return dict(zip(frames, rows.split(sizes), strict=True)), tuple(numbers)


def _one_hot(column: pd.Series, path: Path) -> np.ndarray:
    import pandas as pd

    if pd.api.types.is_datetime64_any_dtype(column) or pd.api.types.is_timedelta64_dtype(column):
        raise UsageError(
            f"dataset.file: {path} holds times in the column {column.name}; turn them into numbers, or "
            f"leave the column out: dataset.drop=[{column.name}]"
        )
    texts = np.array([str(value) for value in column.tolist()])
    values = np.unique(texts)
    if len(values) > MOST_TEXTS or len(texts) / 2 < len(values) > FEW_TEXTS:
        raise UsageError(
            f"dataset.file: {path} holds {len(values):,} different texts in the column {column.name}, and each would "
            f"be an input: leave it out with dataset.drop=[{column.name}], or put its values into a few groups"
        )
    encoded: np.ndarray = np.equal(texts[:, None], values[None]).astype(np.float32)
    return encoded


def _column(frames: dict[str, pd.DataFrame], name: str) -> dict[str, np.ndarray]:
    return {part: frame[name].to_numpy() for part, frame in frames.items()}


def _listed(names: list[str]) -> str:
    return ", ".join(map(str, names[:12])) + (f" and {len(names) - 12} more" if len(names) > 12 else "")
