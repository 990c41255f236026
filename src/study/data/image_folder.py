"""Anyone's images: one folder per class, in one folder or in one for each split."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from study.data.drawing import completed, drawn_from_train
from study.data.image_files import FileSource, Reading, opened
from study.data.image_sizes import common_size
from study.data.layout import Layout, layout_of
from study.data.module import DataModule, Epsilon, Limit
from study.data.scaling import check_scale
from study.data.source import Source
from study.data.timm_transform import named_model, timm_transform
from study.data.transforms import preprocessing
from study.errors import UsageError
from study.runtime.settings import checked_call

Side = Annotated[int, Field(ge=1, le=4096)]
Deviation = Annotated[float, Field(gt=0)]
PROBES = 8
"""Images by which one transform is told from another."""


class ImageFolder(DataModule):
    """Images of any mode, converted to [N, C, H, W] in [0, 1].

    root: a folder with one folder per class, or with such folders in train, validation, repair and test; what is
    missing is drawn at random, see `drawing.completed`. name: what results call it, None for the name of the folder.
    size: height and width, or one number for both, to which images are resized; None: the size that all of them have.
    channels: 1 (grey) or 3 (RGB), to which they are converted; mean, std: one value per channel, both or neither.
    transform: in place of `size`, what makes an input of an image (PIL, converted): it does the same each time and its
    result is an image, or [C, H, W] as bytes or as floats in [0, 1]. A normalisation in it is taken off: where `mean`
    and `std` are None, they become that one's. timm: a timm model whose own transform it is; true: the architecture's
    (`adopt`).
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

    @checked_call
    def __init__(
        self,
        *,
        root: str | None = None,
        name: str | None = None,
        size: Side | tuple[Side, Side] | None = None,
        channels: Literal[1, 3] = 3,
        mean: list[float] | None = None,
        std: list[Deviation] | None = None,
        transform: Any = None,
        timm: bool | str = False,
        limit: Limit = None,
        epsilon: Epsilon = 0.031,
        in_memory_gib: Annotated[float, Field(ge=0)] = 4.0,
    ) -> None:
        super().__init__(root=root, limit=limit, epsilon=epsilon)
        self.title = name or self.folder.name
        self.size = (size, size) if isinstance(size, int) else size
        self.channels = channels
        self.given_scale = mean, std
        self.mean, self.std = mean, std
        self.transform = transform
        self.timm: tuple[str, Mapping[str, Any]] | None = (timm, {}) if isinstance(timm, str) else None
        self.follows_architecture = timm is True
        self.in_memory_gib = in_memory_gib

    @cached_property
    def layout(self) -> Layout:
        """Parts and classes of the folder; raises UsageError where it cannot be used."""
        try:
            return layout_of(self.folder)
        except PermissionError as problem:
            raise UsageError(f"dataset.root={self.folder}: {problem.filename} may not be read") from problem

    @cached_property
    def listings(self) -> dict[str, list[tuple[Path, int]]]:
        """Every image file of each part with its label."""
        return self.layout.listings()

    @cached_property
    def reading(self) -> Reading:
        """How an image becomes an input; raises UsageError where the settings and the images do not allow one."""
        paths = [path for listing in self.listings.values() for path, _ in listing]
        if self.transform is not None or self.timm is not None:
            return self._transformed(paths[0])
        size = self.size or common_size(paths, f"dataset.root={self.folder}")
        return Reading((self.channels, *size), self.channels)

    @property
    def class_names(self) -> list[str]:
        return self.layout.classes

    @property
    def places(self) -> list[Path]:
        return [self.folder]

    @property
    def random_splits(self) -> bool:
        """Whether the test split is a part of the train folder."""
        return drawn_from_train(self.layout.parts)

    @property
    def presentation(self) -> list[Any]:
        """As `DataModule.presentation`; a transform is told from others by what it makes of a few images."""
        if self.reading.preprocessing is None:
            return super().presentation
        paths = [path for listing in self.listings.values() for path, _ in listing]
        images = [opened(paths[len(paths) * place // PROBES], self.channels) for place in range(PROBES)]
        return [*super().presentation, self.channels, *self.reading.preprocessing.identity(images)]

    def adopt(self, architecture: Mapping[str, Any]) -> None:
        """With timm=true, take the transform of the timm model that the architecture names."""
        if self.follows_architecture:
            self.timm = named_model(architecture)

    def check(self) -> None:
        """Raise UsageError if the folder cannot be used, or settings do not fit; reads the headers of images at most,
        and one image for a transform."""
        self._check_one_way()
        self.layout  # noqa: B018 (looking is the check)
        if self.transform is None and self.timm is None:
            check_scale(self.mean, self.std, self.channels, "channel")
        self.input_shape = self.reading.shape
        check_scale(self.mean, self.std, self.input_shape[0], "channel")

    def read(self) -> Source:
        items = [item for listing in self.listings.values() for item in listing]
        return FileSource([path for path, _ in items], torch.tensor([label for _, label in items]), self.reading)

    def divide(self, source: Source, generator: torch.Generator) -> dict[str, Tensor]:
        sizes = {part: len(listing) for part, listing in self.listings.items()}
        return completed(sizes, generator, f"dataset.root={self.folder}")

    def _check_one_way(self) -> None:
        """An image is made an input in one way."""
        ways = {
            "dataset.size": self.size is not None,
            "dataset.transform": self.transform is not None,
            "dataset.timm": self.timm is not None or self.follows_architecture,
        }
        set_ones = [name for name, is_set in ways.items() if is_set]
        if len(set_ones) > 1:
            raise UsageError(f"{set_ones[0]} and {set_ones[1]}: give one of them; either says how large inputs are")
        if self.follows_architecture and self.timm is None:
            raise UsageError(
                "dataset.timm=true: there is no architecture to take it from; give the name of a timm model"
            )

    def _transformed(self, first: Path) -> Reading:
        """The reading by a transform, tried on the first image; its normalisation becomes the data set's."""
        setting = "dataset.transform" if self.timm is None else f"dataset.timm={self.timm[0]}"
        transform = self.transform if self.timm is None else timm_transform(*self.timm)
        image = opened(first, self.channels)
        try:
            ready = preprocessing(transform, image)
            shape = tuple(ready(image).shape)
        except UsageError as problem:
            raise UsageError(f"{setting}: it {problem}") from problem
        if self.given_scale == (None, None):
            self.mean, self.std = ready.mean, ready.std
        return Reading((shape[0], shape[1], shape[2]), self.channels, ready)
