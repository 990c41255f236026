"""What data sets in memory have in common: they come in up to four parts, and the splits that are missing are drawn."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor

from study.data.contents import Contents
from study.data.drawing import completed, drawn_from_train
from study.data.module import DataModule
from study.data.scaling import Scale, check_scale, fitted
from study.data.source import Pixels, Source, Tensors
from study.data.threat import ThreatModel


class Parted(DataModule):
    """A data set in memory; see `drawing.completed` for the splits that it does not bring.

    mean, std: one value per channel or column; auto: those of the train split for the numbers of a table, none for
    images and tokens; None: inputs are used as they are.
    """

    recipe: ClassVar[Mapping[str, Any]] = {
        "epochs": 20,
        "optimizer": "adam",
        "lr": 1e-3,
        "batch_size": 64,
        "augmentation": "none",
    }

    file: str | None = None
    """File or folder that the items come from, None where they come from elsewhere."""

    def __init__(self, *, limit: int | None, epsilon: float | None, mean: Scale, std: Scale) -> None:
        super().__init__(root=None, limit=limit, epsilon=epsilon)
        self.scale: tuple[Scale, Scale] = (mean, std)

    @property
    @abstractmethod
    def contents(self) -> Contents:
        """The items; raises UsageError where they cannot be used. It is asked for often: keep it."""

    @property
    def where(self) -> str:
        """The setting or argument that names the data, for a refusal."""
        return f"dataset={self.name}"

    @property
    def places(self) -> list[Path] | None:
        return None if self.file is None else [Path(self.file)]

    @property
    def class_names(self) -> list[str]:
        return self.contents.classes

    @property
    def random_splits(self) -> bool:
        return drawn_from_train(self.contents.parts)

    @property
    def threat(self) -> ThreatModel | None:
        """What an attack may do to an input; None without a radius, for tokens, and for a table without numbers."""
        columns = self.contents.columns
        if self.epsilon is None or self.contents.kind == "tokens" or columns == ():
            return None
        return ThreatModel(bounds=self.contents.bounds, radius=self.epsilon, columns=columns)

    @property
    def presentation(self) -> list[Any]:
        """As `DataModule.presentation`, without values of the train split, which follow from items and split."""
        return [self.name, list(self.input_shape), self.class_names, *self.scale]

    def check(self) -> None:
        """Raise UsageError if the data, or `mean` and `std`, cannot be used."""
        contents = self.contents
        self.kind, self.input_shape, self.bounds = contents.kind, contents.input_shape, contents.bounds
        self.group_names = contents.groups
        check_scale(*self.scale, self.input_shape[0], "channel" if self.kind == "image" else "column")
        self._normalise_by(contents.first.inputs)

    def read(self) -> Source:
        parts = list(self.contents.parts.values())
        inputs, labels = _joined([part.inputs for part in parts]), _joined([part.labels for part in parts])
        groups = None if self.group_names is None else _joined([p.groups for p in parts if p.groups is not None])
        if inputs.dtype == torch.uint8:
            return Pixels(inputs, labels, groups=groups)
        return Tensors(inputs, labels, groups)

    def divide(self, source: Source, generator: torch.Generator) -> dict[str, Tensor]:
        sizes = {name: len(items.labels) for name, items in self.contents.parts.items()}
        return completed(sizes, generator, self.where)

    def load(self, seed: int) -> None:
        """As `DataModule.load`; then `mean` and `std` are settled."""
        super().load(seed)
        self._normalise_by(self.splits["train"].tensors().inputs)

    def _normalise_by(self, inputs: Tensor) -> None:
        """Set `mean` and `std`, by these inputs of the train split where they are `auto`."""
        mean, std = self.scale
        if isinstance(mean, list) and isinstance(std, list):
            self.mean, self.std = mean, std
        elif mean == "auto" and self.kind == "table":
            self.mean, self.std = fitted(inputs, self.contents.columns)
        else:
            self.mean = self.std = None


def _joined(parts: list[Tensor]) -> Tensor:
    return parts[0] if len(parts) == 1 else torch.cat(parts)
