"""Where the items of a data set come from, before they are divided into splits."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from study.data.split import Inputs


class Source(Protocol):
    """All items of a data set, in an order that is the same on every machine.

    labels: [N] int64; groups: [N] int64, the sensitive group of each item, or None.
    """

    @property
    def labels(self) -> Tensor: ...

    @property
    def groups(self) -> Tensor | None: ...

    def take(self, indices: Tensor) -> Inputs:
        """The inputs of the items at `indices` [M], in their natural range."""
        ...

    def digest(self, indices: Tensor) -> str:
        """Hash of the items at `indices` [M] as they are stored."""
        ...


@dataclass(frozen=True)
class Pixels:
    """Images that lie in memory as they were stored, [N, C, H, W] uint8 from 0 to `white`."""

    images: Tensor
    labels: Tensor
    white: int = 255
    groups: Tensor | None = None

    def take(self, indices: Tensor) -> Tensor:
        """The images at `indices` [M] as float32 in [0, 1], [M, C, H, W]."""
        return self.images.index_select(0, indices).float().div_(self.white)

    def digest(self, indices: Tensor) -> str:
        """Hash of pixels, labels and groups of the images at `indices` [M]."""
        columns = [self.images, self.labels] + ([] if self.groups is None else [self.groups])
        whole = torch.equal(indices, torch.arange(len(self.labels)))
        digest = hashlib.sha256()
        for column in columns:
            digest.update((column if whole else column[indices]).contiguous().numpy().data)
        return digest.hexdigest()


@dataclass(frozen=True)
class Tensors:
    """Inputs that lie in memory as they are used: rows of a table [N, columns] float32, token ids [N, L] int64, ..."""

    inputs: Tensor
    labels: Tensor
    groups: Tensor | None = None

    def take(self, indices: Tensor) -> Tensor:
        """The inputs at `indices` [M]."""
        return self.inputs[indices]

    def digest(self, indices: Tensor) -> str:
        """Hash of inputs, labels and groups of the items at `indices` [M]."""
        digest = hashlib.sha256()
        for column in [self.inputs, self.labels] + ([] if self.groups is None else [self.groups]):
            digest.update(column[indices].contiguous().numpy().data)
        return digest.hexdigest()
