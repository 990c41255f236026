"""What every data set offers: four splits that are the same on every machine, and what is known of them beforehand."""

from __future__ import annotations

import hashlib
import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import pytorch_lightning as pl
import torch
from pydantic import Field
from torch import Tensor

from study.data.source import Source
from study.data.split import Change, Split
from study.data.threat import ThreatModel
from study.runtime.randomness import stream
from study.storage.files import key_of
from study.storage.paths import data_root

SPLITS = ("train", "validation", "repair", "test")
Kind = Literal["image", "table", "tokens"]

Limit = Annotated[int, Field(ge=10)] | None
"""At most so many items in each split: see `DataModule`."""
Epsilon = Annotated[float, Field(gt=0, le=1)]
"""Radius of attacks on images in [0, 1]."""


class DataModule(pl.LightningDataModule, ABC):
    """A data set with its splits train, validation, repair and test, which never share an item.

    Known of the class: `description` (one line), `licence`, `citation` and `source` (one sentence on how to get it),
    all empty for data of the user's own.
    Known from the start: `name` of the data set or family, `title` (what results call it), `recipe` (how its faulty
    model is usually trained: what `auto` in conf/faulty stands for), `affine_invariant` (whether images keep their
    labels when they are shifted, turned or sheared a little), `renamable` (whether inputs are programs whose local
    names may be changed: `splits` offer this) and `usual_sizes` (items of the four splits, without a limit; None where
    they follow from the files).
    Known after `check` at the latest: `kind`, `class_names` and `num_classes`, `group_names` (None: items have no
    sensitive group), `input_shape` (without the batch dimension), `bounds` of an input's values, `threat` (what an
    attack may do to an input), `mean` and `std` (per channel or column, None: inputs are used as they are), `follows`
    and `random_splits`.
    Known after `load`: `splits`; `indices`, the places of each split's items ([N] int64) in the source; `content`, a
    hash of the items in use; `fingerprint`, of these and of how they are presented; `split_hash`, a hash of `indices`.
    Where `mean` and `std` are those of the train split, they are final only then.

    root: folder of the data, None for `data_root()`; limit: at most so many items in each split (a limited split is a
    random part of the whole one, so that nothing moves from one split to another); epsilon: radius of attacks, in units
    of the inputs, which lie within `bounds`; in_memory_gib: inputs that lie in files are read by `load` where those of
    all splits need no more than this as float32.
    """

    description: str = ""
    licence: str = ""
    citation: str = ""
    source: str = ""
    name: str
    title: str
    kind: Kind = "image"
    input_shape: tuple[int, ...]
    group_names: list[str] | None = None
    usual_sizes: tuple[int, int, int, int] | None = None
    bounds: tuple[float, float] = (0.0, 1.0)
    mean: list[float] | None = None
    std: list[float] | None = None
    recipe: ClassVar[Mapping[str, Any]]
    affine_invariant: bool = True
    renamable: bool = False
    in_memory_gib: float = 0.0

    splits: dict[str, Split]
    indices: dict[str, Tensor]
    content: str
    fingerprint: str
    split_hash: str

    def __init__(self, *, root: str | None, limit: int | None, epsilon: float | None) -> None:
        super().__init__()
        self.title = self.name
        self.root = root
        self.limit = limit
        self.epsilon = epsilon
        self.seed = 0
        self.splits = {}

    @property
    @abstractmethod
    def class_names(self) -> list[str]:
        """Name of each class, in the order of the labels; raises UsageError where the data has to be there to know."""

    def adopt(self, architecture: Mapping[str, Any]) -> None:
        """Take from an architecture's settings what the data set is told to take from there; called before `check`."""

    @abstractmethod
    def check(self) -> None:
        """Raise UsageError, quickly, if the data is not there or cannot be used.

        Files that have to be looked into for that are looked into once, however many jobs use them.
        """

    @abstractmethod
    def read(self) -> Source:
        """All items; raises UsageError for files that cannot be read."""

    @abstractmethod
    def divide(self, source: Source, generator: torch.Generator) -> dict[str, Tensor]:
        """Places in `source` of the items of each split ([N] int64); every draw comes from `generator`."""

    @property
    def random_splits(self) -> bool:
        """Whether the test split is drawn out of items that somebody who brings a checkpoint may have trained on."""
        return False

    @property
    def threat(self) -> ThreatModel | None:
        """What an attack may do to an input; None without a radius, and for inputs that have no gradient."""
        if self.epsilon is None or self.kind == "tokens":
            return None
        return ThreatModel(bounds=self.bounds, radius=self.epsilon)

    @property
    def num_classes(self) -> int:
        return len(self.class_names)

    @property
    def follows(self) -> dict[str, Any]:
        """What `auto` stands for in an architecture's settings, by the name of the setting."""
        shape = list(self.input_shape)
        return {"input_shape": shape, "num_classes": self.num_classes, "in_channels": shape[0]}

    @property
    def presentation(self) -> list[Any]:
        """How items reach the model (JSON-like): a part of the fingerprint."""
        return [self.name, list(self.input_shape), self.class_names, self.mean, self.std]

    @property
    def folder(self) -> Path:
        """The folder where the data is looked for."""
        return data_root() if self.root is None else Path(self.root).expanduser().absolute()

    @property
    def places(self) -> list[Path] | None:
        """The files, or folders of them, whose content determines the items, there or not; None where that is unknown.

        Known from the start.
        """
        return None

    def load(self, seed: int) -> None:
        """Fill `splits`, `indices`, `fingerprint` and `split_hash`; raises UsageError if the data cannot be used."""
        self.check()
        self.prepare_data()
        source = self.read()
        self.seed = seed
        whole = self.divide(source, stream(seed, "split"))
        self.indices = {name: self._limited(name, whole[name]) for name in SPLITS}
        self.split_hash = _hash_of(self.indices)
        used = torch.cat(list(self.indices.values())).sort().values
        self.content = source.digest(used)
        self.fingerprint = key_of([*self.presentation, self.content])
        fits = len(used) * math.prod(self.input_shape) * 4 / 2**30 <= self.in_memory_gib
        self.splits = {name: _split(name, source, self.indices[name], fits) for name in SPLITS}
        for name, split in self.splits.items():
            split.variants |= self.variants(source, self.indices[name])

    def unload(self) -> None:
        """Let go of the items; the hashes of `load`, and what else it found out, stay."""
        self.splits, self.indices = {}, {}

    def variants(self, source: Source, indices: Tensor) -> Mapping[str, Change]:
        """Ways to change the items at `indices` [M] of `source` that keep their label, by the name of the change.

        Metrics of robustness ask for test items, trainings for others; most data sets know no such change.
        """
        return {}

    def _limited(self, name: str, indices: Tensor) -> Tensor:
        if self.limit is None or len(indices) <= self.limit:
            return indices
        order = torch.randperm(len(indices), generator=stream(self.seed, "limit", name))
        return indices[order[: self.limit]]


def _split(name: str, source: Source, indices: Tensor, fits: bool) -> Split:
    """fits: inputs that lie in files are read now."""
    groups = None if source.groups is None else source.groups[indices]
    inputs = source.take(indices)
    if fits and not isinstance(inputs, Tensor):
        inputs = inputs[torch.arange(len(indices))]
    return Split(name, inputs, source.labels[indices], groups)


def _hash_of(indices: Mapping[str, Tensor]) -> str:
    digest = hashlib.sha256()
    for name, places in indices.items():
        digest.update(f"{name}:{len(places)}:".encode() + places.numpy().astype("<i8").tobytes())
    return digest.hexdigest()[:20]
