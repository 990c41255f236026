"""ImageNet (ILSVRC 2012), or a part of its classes, read from its files whenever they are used."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, ClassVar

import torch
from pydantic import Field
from torch import Tensor
from torchvision.transforms import v2

from study.data.image_files import FileSource, Reading, unreadable
from study.data.layout import Layout, layout_in
from study.data.module import DataModule, Epsilon, Limit
from study.data.source import Source
from study.data.transforms import Preprocessing
from study.errors import UsageError
from study.runtime.settings import checked_call

HOME = "imagenet"
PARTS = {"train": "train", "test": "val"}
"""The folders of the official parts, by the split that they count as."""
HINT = (
    "set dataset.root=FOLDER or STUDY_DATA to a folder that holds imagenet/train and imagenet/val, with a folder of "
    "images for each class"
)


class ImageNet(DataModule):
    """1.3 million pictures of 1,000 kinds of things, [N, 3, size, size] in [0, 1]; a part of the classes will do.

    Validation is a random part of the official training set, at most a tenth; random halves of the official validation
    set are the repair and the test split (ICSE 2026): 1,256,167 / 25,000 / 25,000 / 25,000 items. Classes are called by
    their folders (WordNet's numbers), sorted, which is the order of torchvision's and timm's networks.
    root: a folder with class folders in train and val, there or in `imagenet`; resize: length in pixels of the shorter
    side, of which the middle size x size is taken; validation: items of that split at most; in_memory_gib: see
    `DataModule`.
    The faulty model is a trained network as it is: `recipe` has no epoch.
    """

    description = "photographs of 1,000 kinds of things, RGB of many sizes; 150 GB"
    licence = "non-commercial research and education, by agreement with image-net.org"
    citation = (
        'Russakovsky, Deng, Su, et al., "ImageNet Large Scale Visual Recognition Challenge", International Journal of '
        "Computer Vision 115(3), 2015"
    )
    source = (
        "Register at https://image-net.org, get ILSVRC 2012, and put the class folders into imagenet/train and "
        "imagenet/val in the data folder."
    )
    name = "imagenet"
    usual_sizes = (1_256_167, 25_000, 25_000, 25_000)
    recipe: ClassVar[Mapping[str, Any]] = {
        "epochs": 0,
        "optimizer": "sgd",
        "lr": 1e-3,
        "batch_size": 64,
        "augmentation": "crop_flip",
    }

    @checked_call
    def __init__(
        self,
        *,
        root: str | None = None,
        resize: Annotated[int, Field(ge=8, le=4096)] = 256,
        size: Annotated[int, Field(ge=8, le=4096)] = 224,
        validation: Annotated[int, Field(ge=1)] = 25_000,
        limit: Limit = None,
        epsilon: Epsilon = 0.0016,
        in_memory_gib: Annotated[float, Field(ge=0)] = 4.0,
    ) -> None:
        super().__init__(root=root, limit=limit, epsilon=epsilon)
        if size > resize:
            raise UsageError(f"dataset.size={size}: is cut out of images whose shorter side is dataset.resize={resize}")
        self.input_shape = (3, size, size)
        self.mean, self.std = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]  # as torchvision's networks take them
        self.resize, self.size, self.validation = resize, size, validation
        self.in_memory_gib = in_memory_gib

    @property
    def home(self) -> Path:
        """The folder that holds train and val, or where it is missing the one that should."""
        homes = [self.folder / HOME, self.folder]
        return next((home for home in homes if all((home / part).is_dir() for part in PARTS.values())), homes[0])

    @cached_property
    def layout(self) -> Layout:
        """Parts and classes; raises UsageError where the folder cannot be used."""
        parts = {split: self.home / part for split, part in PARTS.items()}
        return layout_in(parts, "dataset=imagenet", HINT)

    @cached_property
    def listings(self) -> dict[str, list[tuple[Path, int]]]:
        """Every image file of each part with its label."""
        return self.layout.listings()

    @property
    def class_names(self) -> list[str]:
        return self.layout.classes

    @property
    def places(self) -> list[Path]:
        return [self.home / part for part in PARTS.values()]

    @property
    def presentation(self) -> list[Any]:
        """As `DataModule.presentation`, with the size that images are cut out of."""
        return [*super().presentation, self.resize]

    def check(self) -> None:
        """Raise UsageError unless train and val hold the same class folders; lists no more than a file of each."""
        self.layout  # noqa: B018 (looking is the check)

    def read(self) -> Source:
        items = [item for listing in self.listings.values() for item in listing]
        steps = v2.Compose([v2.Resize(self.resize), v2.CenterCrop(self.size)])
        reading = Reading((3, self.size, self.size), 3, Preprocessing(steps, None, None))
        labels = torch.tensor([label for _, label in items])
        return NamedFiles([path for path, _ in items], labels, reading, home=self.home)

    def divide(self, source: Source, generator: torch.Generator) -> dict[str, Tensor]:
        train, test = (len(listing) for listing in self.listings.values())
        if train < 2 or test < 2:
            raise UsageError(
                f"dataset=imagenet: {self.home} holds {train} images in train and {test} in val; it takes two in each"
            )
        inside = torch.randperm(train, generator=generator)
        outside = train + torch.randperm(test, generator=generator)
        held_out = min(self.validation, -(-train // 10))
        return {
            "train": inside[held_out:],
            "validation": inside[:held_out],
            "repair": outside[: test // 2],
            "test": outside[test // 2 :],
        }


@dataclass(frozen=True, kw_only=True)
class NamedFiles(FileSource):
    """Image files below a folder whose names and sizes tell them from others, as 150 GB take too long to hash."""

    home: Path

    def digest(self, indices: Tensor) -> str:
        """Hash of the labels, the names and the sizes of the files at `indices` [M]."""
        digest = hashlib.sha256(self.labels[indices].numpy().data)
        for index in indices.tolist():
            path = self.paths[index]
            try:
                digest.update(f"{path.relative_to(self.home).as_posix()}:{path.stat().st_size}\n".encode())
            except OSError as problem:
                raise unreadable(path, problem) from problem
        return digest.hexdigest()
