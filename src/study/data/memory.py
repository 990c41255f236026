"""A data set out of tensors, for whoever comes from Python and has no files."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from study.data.contents import Contents, Items, contents_of
from study.data.module import SPLITS, Kind
from study.data.parted import Parted
from study.data.scaling import Scale
from study.data.source import Source


class InMemory(Parted):
    """Tensors as a data set.

    parts: items by the name of the split: train is a must; validation, repair and test are drawn by the rule of
    `study.data.drawing.completed` where they are missing. Images are [N, H, W], [N, C, H, W] or [N, H, W, C] (C = 1 or
    3), uint8 from 0 to 255 or floats within `bounds`; rows of a table [N, columns]; tokens [N, L] integers. Labels are
    numbers of the classes, [N] integers from 0; groups from 0.
    title: what results call it; kind: None follows from the inputs (`contents_of` says how); class_names: in the order
    of the model's outputs, None: the numbers from 0 to the largest label; group_names: of the sensitive groups;
    mean, std: one value per channel or column, the model's first step: None, the model takes the inputs as they are
    given; auto: those of the train split (rows of a table alone); epsilon: radius of attacks in units of the inputs,
    None: they are not applicable; bounds: least and largest value of an input, None: [0, 1] for images, the range of
    the items for a table; drawn: whether splits that are missing are drawn; False: they are empty, and test is the one
    that is a must, as two models are compared on it alone; recipe: how a faulty model is trained, where one is (see
    `study.problem.recipe.Recipe`).

    `check` and `load(seed)` raise UsageError, in one sentence, for items that cannot be used.
    """

    name = "memory"

    def __init__(
        self,
        parts: Mapping[str, Items],
        *,
        title: str = "memory",
        kind: Kind | None = None,
        class_names: Sequence[str] | None = None,
        group_names: Sequence[str] | None = None,
        mean: Scale = None,
        std: Scale = None,
        epsilon: float | None = None,
        bounds: tuple[float, float] | None = None,
        limit: int | None = None,
        drawn: bool = True,
        recipe: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(limit=limit, epsilon=epsilon, mean=mean, std=std)
        self.title = title
        self.drawn = drawn
        self._contents = contents_of(
            parts,
            where="data",
            must="train" if drawn else "test",
            kind=kind,
            classes=class_names,
            groups=group_names,
            bounds=bounds,
        )
        if recipe is not None:
            self.recipe = recipe  # type: ignore[misc]
        self.check()

    @property
    def contents(self) -> Contents:
        return self._contents

    @property
    def where(self) -> str:
        return "data"

    def divide(self, source: Source, generator: torch.Generator) -> dict[str, Tensor]:
        if self.drawn:
            return super().divide(source, generator)
        sizes = {name: len(items.labels) for name, items in self.contents.parts.items()}
        places = dict(zip(sizes, torch.arange(len(source.labels)).split(list(sizes.values())), strict=True))
        return {name: places.get(name, torch.arange(0)) for name in SPLITS}

    def name_classes(self, names: Sequence[str]) -> None:
        """Name the classes, in the order of the model's outputs: at least as many as the labels need."""
        self._contents = dataclasses.replace(self._contents, classes=list(names))
