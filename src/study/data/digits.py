"""The 8x8 digits that ship with scikit-learn: 1,797 images that need no download."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, ClassVar

import torch
from sklearn.datasets import load_digits
from torch import Tensor

from study.data.module import SPLITS, DataModule, Epsilon, Limit
from study.data.source import Pixels, Source
from study.runtime.settings import checked_call

SIZES = (800, 197, 400, 400)


class Digits(DataModule):
    """Test set of "Optical Recognition of Handwritten Digits" (UCI, 1998), [N, 1, 8, 8] in [0, 1].

    Train 800, validation 197, repair 400 and test 400 items, drawn at random.
    """

    description = "handwritten digits, 8x8 grey"
    licence = "CC BY 4.0"
    citation = (
        'Alpaydin, Kaynak, "Optical Recognition of Handwritten Digits", UCI Machine Learning Repository, 1998, '
        "doi:10.24432/C50P49"
    )
    source = "It is a part of scikit-learn."
    name = "digits"
    input_shape = (1, 8, 8)
    usual_sizes = SIZES
    recipe: ClassVar[Mapping[str, Any]] = {
        "epochs": 12,
        "optimizer": "adam",
        "lr": 2e-3,
        "batch_size": 64,
        "augmentation": "none",
    }

    @checked_call
    def __init__(self, *, limit: Limit = None, epsilon: Epsilon = 0.1) -> None:
        super().__init__(root=None, limit=limit, epsilon=epsilon)

    @property
    def class_names(self) -> list[str]:
        return [str(digit) for digit in range(10)]

    @property
    def random_splits(self) -> bool:
        return True

    @property
    def places(self) -> list[Path]:
        return []

    def check(self) -> None:
        """Nothing can be missing: the data is a part of scikit-learn."""

    def read(self) -> Source:
        return _pixels()

    def divide(self, source: Source, generator: torch.Generator) -> dict[str, Tensor]:
        order = torch.randperm(len(source.labels), generator=generator)
        return dict(zip(SPLITS, order.split(SIZES), strict=True))


@cache
def _pixels() -> Pixels:
    """Kept, as every job of a sweep asks for it."""
    data = load_digits()
    images = torch.from_numpy(data.images).to(torch.uint8).unsqueeze(1)
    return Pixels(images, torch.from_numpy(data.target).long(), white=16)
