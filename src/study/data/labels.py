"""Labels and groups as their owner writes them (text, numbers, truth values), as numbers from 0."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from study.errors import UsageError

Column = NDArray[Any]


def numbered(
    columns: Mapping[str, Column], names: Sequence[str] | None, setting: str
) -> tuple[dict[str, Tensor], list[str]]:
    """Number the values of a column that comes in parts.

    >>> numbers, names = numbered({"train": np.array(["no", "yes", "no", "no", "yes"])}, None, "dataset.label=survived")
    >>> numbers["train"], names
    (tensor([0, 1, 0, 0, 1]), ['no', 'yes'])

    Args:
        columns: [N] text, whole numbers or truth values by the name of the part.
        names: the values in the order of their numbers; where the column holds none of these names but numbers from 0,
            these are taken as they are. None: the values that there are, sorted.
        setting: names the column, for a refusal.

    Returns:
        Numbers [N] int64 of each part, and the names.

    Raises:
        UsageError: The column holds something else, or almost as many values as items.
    """
    texts = {part: _texts(column, setting) for part, column in columns.items()}
    found = _in_order(list(columns.values()), list(texts.values()))
    items = sum(map(len, columns.values()))
    if names is None and 2 * len(found) > items:
        raise UsageError(f"{setting}: holds {len(found)} different values in {items} items; classes repeat")
    known = found if names is None else list(names)
    values = known
    if not set(found) & set(known) and all(text.isdecimal() for text in found):
        values = [str(number) for number in range(len(known))]
        if int(max(found, key=int)) >= len(known):
            raise UsageError(
                f"{setting}: go up to {max(found, key=int)}, and {len(known)} names number 0 to {len(known) - 1}"
            )
    places = {value: place for place, value in enumerate(values)}
    return {part: _looked_up(column, places, setting) for part, column in texts.items()}, known


def combined(columns: Mapping[str, Mapping[str, Column]]) -> tuple[dict[str, Tensor], list[str] | None]:
    """Number the combinations of values that occur in several columns, as intersectional groups are.

    >>> sex, race = np.array(["f", "f", "m", "f"]), np.array(["b", "a", "a", "b"])
    >>> numbers, names = combined({"dataset.group=sex": {"train": sex}, "dataset.group=race": {"train": race}})
    >>> numbers["train"], names
    (tensor([1, 0, 2, 1]), ['f, a', 'f, b', 'm, a'])

    Args:
        columns: the parts of each column, see `numbered`, by the setting that names it.

    Returns:
        Numbers [N] int64 of each part, and the names of the combinations, sorted by the first column, then the second;
        without a column nothing and None.

    Raises:
        UsageError: As `numbered`.
    """
    if not columns:
        return {}, None
    found = [numbered(parts, None, setting) for setting, parts in columns.items()]
    rows = {part: torch.stack([numbers[part] for numbers, _ in found], dim=1) for part in found[0][0]}
    cells, places = torch.cat(list(rows.values())).unique(dim=0, return_inverse=True)
    names = [", ".join(known[value] for value, (_, known) in zip(cell, found, strict=True)) for cell in cells.tolist()]
    return dict(zip(rows, places.split([len(part) for part in rows.values()]), strict=True)), names


def _texts(column: Column, setting: str) -> NDArray[np.object_]:
    """Each value as text; whole numbers without a decimal point."""
    if column.ndim != 1:
        raise UsageError(
            f"{setting}: holds an array of shape {'x'.join(map(str, column.shape))}; it takes one value each"
        )
    if column.dtype.kind == "f":
        if not np.array_equal(column, np.round(column)):
            raise UsageError(
                f"{setting}: holds fractions such as {column[column != np.round(column)][0]:g}; classes are "
                "whole numbers or names"
            )
        column = column.astype(np.int64)
    return np.array([str(value) for value in column.tolist()], dtype=object)


def _in_order(columns: list[Column], texts: list[NDArray[np.object_]]) -> list[str]:
    """The different values: numbers by size, text by its characters."""
    found = {text for part in texts for text in part.tolist()}
    return sorted(found, key=int) if all(column.dtype.kind in "iuf" for column in columns) else sorted(found)


def _looked_up(texts: NDArray[np.object_], known: Mapping[str, int], setting: str) -> Tensor:
    if odd := [text for text in texts.tolist() if text not in known]:
        raise UsageError(f"{setting}: {odd[0]} is none of {', '.join(known)}")
    return torch.tensor([known[text] for text in texts.tolist()], dtype=torch.int64)
