"""Items that lie in memory as their owner keeps them, checked and brought into the form that a model takes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from study.data.module import SPLITS, Kind
from study.errors import UsageError

COLOURS = (1, 3)
"""Channels by which the last axis of images is known to hold them."""


class Items(NamedTuple):
    """Some items: inputs [N, ...], labels [N], and the sensitive group of each [N] or None; both integers from 0."""

    inputs: Tensor
    labels: Tensor
    groups: Tensor | None = None


@dataclass(frozen=True)
class Contents:
    """A data set in memory.

    parts: by the name of the split, in the order of `SPLITS`, one at least. Images are [N, C, H, W], uint8 from 0 to
    255 or float32 within `bounds`; rows of a table [N, columns] float32; tokens [N, L] int64.
    classes, groups: the names of the labels and of the groups (None without any); bounds: least and largest value of
    an input; columns: places of a table's columns that hold numbers, None: all of them do.
    """

    parts: Mapping[str, Items]
    kind: Kind
    classes: list[str]
    bounds: tuple[float, float]
    groups: list[str] | None = None
    columns: tuple[int, ...] | None = None

    @property
    def input_shape(self) -> tuple[int, ...]:
        return tuple(self.first.inputs.shape[1:])

    @property
    def first(self) -> Items:
        """Those of train, or else of the next split that there is."""
        return next(iter(self.parts.values()))


def contents_of(
    parts: Mapping[str, Items],
    *,
    where: str,
    must: str = "train",
    kind: Kind | None = None,
    classes: Sequence[str] | None = None,
    groups: Sequence[str] | None = None,
    columns: tuple[int, ...] | None = None,
    bounds: tuple[float, float] | None = None,
) -> Contents:
    """Check items and bring them into the form of `Contents`.

    Args:
        parts: by the name of the split. Images are [N, H, W], [N, C, H, W] or [N, H, W, C] (C = 1 or 3), uint8 or
            floats within `bounds`; rows [N, columns] of any number; tokens [N, L] integers.
        where: the setting or argument that names the data, for a refusal.
        must: the split that cannot be missing.
        kind: None: bytes and floats with three axes or more are images, two axes of floats or bytes a table, other
            integers tokens.
        classes, groups: names, None: their numbers.
        columns: see `Contents`.
        bounds: None: [0, 1] for images, the range of the columns for a table.

    Raises:
        UsageError: The items cannot be used.
    """
    ordered = {name: parts[name] for name in SPLITS if name in parts}
    if odd := [name for name in parts if name not in SPLITS]:
        raise UsageError(f"{where}: there is no split {odd[0]}; the splits are {', '.join(SPLITS)}")
    if must not in ordered:
        only = f", only {', '.join(ordered)}" if ordered else ""
        raise UsageError(f"{where}: there are no {must} items{only}; {must} is a must")
    kind = kind or _kind_of(ordered[must].inputs, where)
    ready = {name: _checked(name, items, kind, where) for name, items in ordered.items()}
    _check_shapes(ready, where)
    if bounds is None:
        bounds = _range(ready, columns) if kind == "table" else (0.0, 1.0)
    if kind == "image":
        _check_range(ready, bounds, where)
    return Contents(
        parts=ready,
        kind=kind,
        classes=_names([items.labels for items in ready.values()], classes, "labels", where),
        bounds=bounds,
        groups=_group_names(ready, groups, where),
        columns=columns,
    )


def _kind_of(inputs: Tensor, where: str) -> Kind:
    if inputs.dim() >= 3 and (inputs.is_floating_point() or inputs.dtype == torch.uint8):
        return "image"
    if inputs.dim() == 2:
        return "table" if inputs.is_floating_point() or inputs.dtype == torch.uint8 else "tokens"
    raise UsageError(f"{where}: inputs of shape {_times(inputs.shape)} are neither images, rows nor tokens")


def _checked(name: str, items: Items, kind: Kind, where: str) -> Items:
    inputs, labels, groups = items
    axes = {"image": (3, 4), "table": (2,), "tokens": (2,)}[kind]
    if inputs.dim() not in axes:
        shape = {"image": "N, C, H, W", "table": "N, columns", "tokens": "N, length"}[kind]
        raise UsageError(f"{where}: {name} inputs of shape {_times(inputs.shape)} are no {kind} inputs [{shape}]")
    for what, column in {"labels": labels, "groups": groups}.items():
        if column is not None and (column.dim() != 1 or len(column) != len(inputs)):
            one_hot = column.dim() == 2 and column.shape[1] > 1 and len(column) == len(inputs)
            remedy = f" (one-hot {what} as numbers: {what}.argmax(1))" if one_hot else ""
            raise UsageError(
                f"{where}: {name} has {len(inputs)} inputs and {what} of shape {_times(column.shape)}; "
                f"there is one for each input{remedy}"
            )
    if len(inputs) == 0:
        raise UsageError(f"{where}: {name} holds no item; leave it out, or add some")
    labels = _whole(labels, f"{where}: {name} labels")
    groups = None if groups is None else _whole(groups, f"{where}: {name} groups")
    return Items(_presented(inputs, kind, f"{where}: {name} inputs"), labels, groups)


def _whole(numbers: Tensor, where: str) -> Tensor:
    """Numbers [N] as int64; raises UsageError where some are no whole numbers."""
    if numbers.is_floating_point():
        odd = numbers[~numbers.isfinite() | (numbers != numbers.round())]
        if len(odd):
            raise UsageError(f"{where} are no whole numbers ({odd[0]:g} is among them); they are numbered from 0")
    return numbers.long()


def _presented(inputs: Tensor, kind: Kind, where: str) -> Tensor:
    if kind == "tokens":
        if inputs.is_floating_point() or int(inputs.min()) < 0:
            raise UsageError(f"{where} are no token ids: whole numbers from 0 are")
        return inputs.long()
    if not torch.isfinite(inputs).all():
        raise UsageError(f"{where} hold values that are no finite numbers")
    if kind == "table":
        return inputs.float()
    if inputs.dim() == 3:
        inputs = inputs.unsqueeze(1)
    elif inputs.shape[3] in COLOURS and inputs.shape[1] not in COLOURS:
        inputs = inputs.permute(0, 3, 1, 2).contiguous()
    if inputs.dtype != torch.uint8 and not inputs.is_floating_point():
        raise UsageError(f"{where} are {_named(inputs.dtype)}; images are uint8 from 0 to 255, or floats")
    return inputs if inputs.dtype == torch.uint8 else inputs.float()


def _check_shapes(parts: Mapping[str, Items], where: str) -> None:
    first, reference = next(iter(parts.items()))
    for name, items in parts.items():
        if items.inputs.shape[1:] != reference.inputs.shape[1:] or items.inputs.dtype != reference.inputs.dtype:
            raise UsageError(
                f"{where}: {first} inputs are {_described(reference.inputs)}, "
                f"{name} inputs {_described(items.inputs)}; "
                "make them the same"
            )


def _check_range(parts: Mapping[str, Items], bounds: tuple[float, float], where: str) -> None:
    for name, items in parts.items():
        if items.inputs.dtype == torch.uint8:
            continue
        low, high = (float(value) for value in items.inputs.aminmax())
        if low < bounds[0] or high > bounds[1]:
            raise UsageError(
                f"{where}: {name} inputs go from {low:.3g} to {high:.3g}, and images lie in "
                f"[{bounds[0]:g}, {bounds[1]:g}]: divide them by their largest value, or undo a normalisation, whose "
                "mean and std are settings of their own"
            )


def _range(parts: Mapping[str, Items], columns: tuple[int, ...] | None) -> tuple[float, float]:
    """Least and largest value of a table's numbers; not twice the same, as attacks divide by the width."""
    numbers = [items.inputs if columns is None else items.inputs[:, list(columns)] for items in parts.values()]
    values = [values for values in numbers if values.numel()]
    if not values:
        return 0.0, 1.0
    low, high = min(float(value.min()) for value in values), max(float(value.max()) for value in values)
    return low, high if high > low else low + 1


def _names(numbers: list[Tensor], names: Sequence[str] | None, what: str, where: str) -> list[str]:
    low, high = min(int(n.min()) for n in numbers), max(int(n.max()) for n in numbers)
    known = [str(number) for number in range(high + 1)] if names is None else list(names)
    if low < 0 or high >= len(known):
        raise UsageError(
            f"{where}: {what} go from {low} to {high}; {len(known)} of them are numbered from 0 to {len(known) - 1}"
        )
    if len(known) < 2:
        raise UsageError(f"{where}: {what} are all the same, {known[0]}; it takes at least two")
    return known


def _group_names(parts: Mapping[str, Items], names: Sequence[str] | None, where: str) -> list[str] | None:
    given = [name for name, items in parts.items() if items.groups is not None]
    if not given:
        return None
    if len(given) < len(parts):
        raise UsageError(f"{where}: {given[0]} has groups, and not every split has; give all of them, or none")
    return _names([items.groups for items in parts.values() if items.groups is not None], names, "groups", where)


def _described(inputs: Tensor) -> str:
    return f"{_times(inputs.shape[1:])} {_named(inputs.dtype)}"


def _named(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def _times(shape: Sequence[int]) -> str:
    return "x".join(map(str, shape))
