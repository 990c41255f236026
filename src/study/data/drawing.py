"""The one rule by which splits that a data set does not bring are drawn out of those that it does."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping

import torch
from torch import Tensor

from study.data.module import SPLITS
from study.errors import UsageError

SHARE = 0.1
"""Of the train part, for each split that is drawn out of it."""


def completed(sizes: Mapping[str, int], generator: torch.Generator, where: str) -> dict[str, Tensor]:
    """The four splits of items that come in parts one after the other; what is missing is drawn at random.

    Validation is a tenth of train; of repair and test, one alone is halved into both, and where neither is there each
    is a tenth of train. A train part alone is thus split 70 / 10 / 10 / 10 %.

    Args:
        sizes: number of items of each part by its name, in the order of the items; train is a must.
        generator: of every draw.
        where: the setting that names the data, for a refusal.

    Returns:
        Places of each split's items ([N] int64) among all of them.

    Raises:
        UsageError: There is no train part, or a split is left empty.
    """
    if "train" not in sizes:
        raise UsageError(f"{where}: there are no train items, only {', '.join(sizes)}; train is a must")
    places = torch.arange(sum(sizes.values())).split(list(sizes.values()))
    splits = _drawn(dict(zip(sizes, places, strict=True)), generator)
    empty = [name for name in SPLITS if len(splits[name]) == 0]
    if empty:
        raise UsageError(f"{where}: no item is left for the {empty[0]} split; add some")
    return {name: splits[name] for name in SPLITS}


def drawn_from_train(parts: Collection[str]) -> bool:
    """Whether the test split of a data set with these parts is drawn out of its train part."""
    return not {"repair", "test"} & set(parts)


def _drawn(given: dict[str, Tensor], generator: torch.Generator) -> dict[str, Tensor]:
    splits = dict(given)
    held = [name for name in ("repair", "test") if name in given]
    if len(held) == 1:
        shuffled = _shuffled(given[held[0]], generator)
        splits["repair"], splits["test"] = shuffled[: len(shuffled) // 2], shuffled[len(shuffled) // 2 :]
    lacking = [name for name in SPLITS if name not in splits]
    train = _shuffled(given["train"], generator) if lacking else given["train"]
    count = math.ceil(SHARE * len(train))
    for place, name in enumerate(lacking):
        splits[name] = train[place * count : (place + 1) * count]
    splits["train"] = train[len(lacking) * count :]
    return splits


def _shuffled(indices: Tensor, generator: torch.Generator) -> Tensor:
    return indices[torch.randperm(len(indices), generator=generator)]
