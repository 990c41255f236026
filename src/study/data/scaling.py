"""The mean and the deviation by which a model normalises its inputs: given, or those of the train split."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from study.errors import UsageError

Scale = list[float] | Literal["auto"] | None


def fitted(rows: Tensor, columns: tuple[int, ...] | None) -> tuple[list[float], list[float]]:
    """Mean and deviation of each column of `rows` [N, columns], N >= 1; those not in `columns` stay as they are.

    A column with one value everywhere gets the deviation 1.
    """
    values = rows.double()
    mean, std = values.mean(0), values.std(0, correction=0)
    std[std == 0] = 1
    if columns is not None:
        still = torch.ones(len(mean), dtype=torch.bool)
        still[list(columns)] = False
        mean[still], std[still] = 0, 1
    return mean.float().tolist(), std.float().tolist()


def check_scale(mean: Scale, std: Scale, count: int, what: str) -> None:
    """Raise UsageError unless both are given or neither, with one value for each of `count` channels or columns.

    what: channel or column, for the refusal.
    """
    given = [values for values in (mean, std) if isinstance(values, list)]
    if mean == std and not given:
        return
    if len(given) < 2 or any(len(values) != count for values in given):
        raise UsageError(
            f"dataset.mean={_shown(mean)} and dataset.std={_shown(std)}: give both or neither, "
            f"with one value for each of the {count} {what}(s)"
        )
    if any(value <= 0 for value in given[1]):
        raise UsageError(f"dataset.std={_shown(std)}: deviations are greater than 0")


def _shown(values: Scale) -> str:
    """As on a command line."""
    return "null" if values is None else str(values)
