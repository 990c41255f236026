"""Anyone's images: one folder per class, in one folder or in one for each split."""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import cached_property
from typing import Annotated, Any, ClassVar, Literal

import torch
from pydantic import Field, validate_call
from torch import Tensor

from study.data.image_files import FileSource
from study.data.layout import Layout, layout_of
from study.data.module import SPLITS, DataModule, Epsilon, Limit
from study.data.source import Source
from study.data.split import Split
from study.errors import UsageError

Side = Annotated[int, Field(ge=1, le=4096)]
Deviation = Annotated[float, Field(gt=0)]
SHARE = 0.1
"""Of the train folder, for each split that is drawn out of it."""


class ImageFolder(DataModule):
    """Images of any size and mode, resized and converted to [N, C, H, W] in [0, 1].

    root: a folder with one folder per class, or with such folders in train, validation, repair and test. What is
    missing is drawn at random: validation is a tenth of train; of repair and test, one alone is halved into both, and
    where neither is there each is a tenth of train. Class folders alone are thus split 70 / 10 / 10 / 10 %.
    size: (height, width); channels: 1 (grey) or 3 (RGB); mean, std: one value per channel, both or neither;
    in_memory_gib: where all splits together need more than this as float32, images are read each time they are used.
    """

    name = "image_folder"
    recipe: ClassVar[Mapping[str, Any]] = {
        "epochs": 20,
        "optimizer": "adam",
        "lr": 1e-3,
        "batch_size": 64,
        "augmentation": "none",
    }

    @validate_call
    def __init__(
        self,
        *,
        root: str | None = None,
        size: tuple[Side, Side] = (32, 32),
        channels: Literal[1, 3] = 3,
        mean: list[float] | None = None,
        std: list[Deviation] | None = None,
        limit: Limit = None,
        epsilon: Epsilon = 0.031,
        in_memory_gib: Annotated[float, Field(ge=0)] = 4.0,
    ) -> None:
        super().__init__(root=root, limit=limit, epsilon=epsilon)
        self.size = size
        self.channels = channels
        self.input_shape = (channels, *size)
        self.mean = mean
        self.std = std
        self.in_memory_gib = in_memory_gib

    @cached_property
    def layout(self) -> Layout:
        """Parts and classes of the folder; raises UsageError where it cannot be used."""
        try:
            return layout_of(self.folder)
        except PermissionError as problem:
            raise UsageError(f"dataset.root={self.folder}: {problem.filename} may not be read") from problem

    @property
    def class_names(self) -> list[str]:
        return self.layout.classes

    @property
    def random_splits(self) -> bool:
        """Whether the test split is a part of the train folder."""
        return not {"repair", "test"} & set(self.layout.parts)

    def check(self) -> None:
        """Raise UsageError if the folder cannot be used, or `mean` and `std` do not fit; reads no image."""
        for values, other in ((self.mean, self.std), (self.std, self.mean)):
            if values is not None and (other is None or len(values) != self.channels):
                raise UsageError(
                    f"dataset.mean={self.mean} and dataset.std={self.std}: give both or neither, "
                    f"with one value for each of the {self.channels} channel(s)"
                )
        self.layout  # noqa: B018 (looking is the check)

    def read(self) -> Source:
        listings = {part: self.layout.listing(part) for part in self.layout.parts}
        self.counts = {part: len(listing) for part, listing in listings.items()}
        items = [item for listing in listings.values() for item in listing]
        paths, labels = [path for path, _ in items], torch.tensor([label for _, label in items])
        return FileSource(paths, labels, self.size, self.channels)

    def divide(self, source: Source, generator: torch.Generator) -> dict[str, Tensor]:
        places = torch.arange(len(source.labels)).split(list(self.counts.values()))
        splits = dict(zip(self.counts, places, strict=True))
        splits = _completed(splits, generator)
        empty = [name for name, indices in splits.items() if len(indices) == 0]
        if empty:
            raise UsageError(f"dataset.root={self.folder}: no image is left for the {empty[0]} split; add images")
        return splits

    def load(self, seed: int) -> None:
        """As `DataModule.load`; the images are read now if they fit into `in_memory_gib`."""
        super().load(seed)
        items = sum(map(len, self.splits.values()))
        if items * math.prod(self.input_shape) * 4 / 2**30 <= self.in_memory_gib:
            self.splits = {name: _in_memory(split) for name, split in self.splits.items()}


def _completed(given: dict[str, Tensor], generator: torch.Generator) -> dict[str, Tensor]:
    """The four splits out of those that are given (train at least), the others drawn at random."""
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


def _in_memory(split: Split) -> Split:
    return Split(split.name, split.inputs[torch.arange(len(split))], split.labels, split.groups)
