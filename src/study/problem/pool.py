"""A split whose labels are bought one by one."""

from __future__ import annotations

import torch
from torch import Tensor

from study.data.split import Split


class Pool:
    """The repair split with its labels hidden: each one that is looked at counts as bought."""

    def __init__(self, repair: Split) -> None:
        self._repair = repair
        self._revealed = torch.zeros(len(repair), dtype=torch.bool)

    def __len__(self) -> int:
        return len(self._repair)

    def inputs(self) -> Tensor:
        """All inputs of the pool, [N, ...]."""
        return self._repair.tensors().inputs

    def reveal(self, indices: Tensor) -> Tensor:
        """Labels [M] of the items at `indices` [M]; they count as bought from now on."""
        self._revealed[indices.cpu()] = True
        return self._repair.labels[indices.to(self._repair.device)]

    @property
    def revealed(self) -> Tensor:
        """Indices of the items whose label has been bought."""
        return self._revealed.nonzero().flatten()
