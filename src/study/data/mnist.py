"""MNIST and Fashion-MNIST, out of the IDX files that torchvision, Debian and the authors distribute."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import torch
import torchvision
from torch import Tensor

from study.data.download import Remote, download, fetched
from study.data.idx import find_idx, read_idx
from study.data.module import DataModule, Epsilon, Limit
from study.data.source import Pixels, Source
from study.errors import UsageError
from study.runtime.settings import checked_call

IMAGES = ("train-images-idx3-ubyte", "t10k-images-idx3-ubyte")
LABELS = ("train-labels-idx1-ubyte", "t10k-labels-idx1-ubyte")
FEWEST = 10
"""Images in either part, so that no split is empty."""


class MNIST(DataModule):
    """70,000 handwritten digits (LeCun et al., 1998), [N, 1, 28, 28] in [0, 1].

    A random tenth of the official training set is the validation split; random halves of the official test set are
    the repair and the test split (ICSE 2026): 54,000 / 6,000 / 5,000 / 5,000 items.
    root: a folder with the IDX files in it, in `raw` or in `MNIST/raw`; download: fetch them into `root/MNIST/raw` from
    where torchvision finds them, and verify their checksums, if they are not there.
    """

    description = "handwritten digits, 28x28 grey"
    licence = "none stated by its authors; commonly given as CC BY-SA 3.0"
    citation = (
        'LeCun, Bottou, Bengio, Haffner, "Gradient-based learning applied to document recognition", Proceedings of '
        "the IEEE 86(11), 1998"
    )
    source = "Set dataset.download=true, or put its four IDX files into MNIST/raw in the data folder."
    name = "mnist"
    input_shape = (1, 28, 28)
    usual_sizes = (54_000, 6_000, 5_000, 5_000)
    archive: ClassVar[type[torchvision.datasets.MNIST]] = torchvision.datasets.MNIST
    installed: ClassVar[Path | None] = None
    recipe: ClassVar[Mapping[str, Any]] = {
        "epochs": 40,
        "stop_at": 0.975,
        "optimizer": "adam",
        "lr": 1e-4,
        "batch_size": 128,
        "augmentation": "none",
    }

    @checked_call
    def __init__(
        self, *, root: str | None = None, limit: Limit = None, epsilon: Epsilon = 0.15, download: bool = False
    ) -> None:
        super().__init__(root=root, limit=limit, epsilon=epsilon)
        self.download = download

    @property
    def class_names(self) -> list[str]:
        return [str(digit) for digit in range(10)]

    @property
    def places(self) -> list[Path]:
        names = [f"{name}{suffix}" for name in IMAGES + LABELS for suffix in ("", ".gz")]
        return [folder / name for folder in self._folders for name in names]

    def check(self) -> None:
        """Raise UsageError unless the four files are there or may be downloaded."""
        if self._found() is None and not self.download:
            raise UsageError(
                f"dataset={self.name}: {self.folder} {self._lack()} (looked in it, in raw and in "
                f"{self.archive.__name__}/raw); set dataset.root=FOLDER or STUDY_DATA to a folder that holds them, or "
                "dataset.download=true to fetch them"
            )

    def prepare_data(self) -> None:
        """Download those of the files that are not there; raises UsageError if that fails."""
        if self._found() is not None or not self.download:
            return
        home = self._folders[0]
        for packed, md5 in self.archive.resources:
            if find_idx(home, Path(packed).stem) is None:
                remote = Remote(tuple(f"{mirror}{packed}" for mirror in self.archive.mirrors), md5)
                fetched(home / packed, f"put it into {home}", partial(download, remote, packed))

    def read(self) -> Source:
        folder = self._found()
        if folder is None:
            raise UsageError(f"dataset={self.name}: {self.folder} {self._lack()}")
        images = [read_idx(_file(folder, name), 3) for name in IMAGES]
        labels = [read_idx(_file(folder, name), 1) for name in LABELS]
        for part, targets, name in zip(images, labels, IMAGES, strict=True):
            self._verify(part, targets, _file(folder, name))
        self.sizes = (len(images[0]), len(images[1]))
        return Pixels(torch.cat(images).unsqueeze(1), torch.cat(labels).long())

    def divide(self, source: Source, generator: torch.Generator) -> dict[str, Tensor]:
        train, test = self.sizes
        inside = torch.randperm(train, generator=generator)
        outside = train + torch.randperm(test, generator=generator)
        return {
            "train": inside[train // 10 :],
            "validation": inside[: train // 10],
            "repair": outside[: test // 2],
            "test": outside[test // 2 :],
        }

    @property
    def _folders(self) -> list[Path]:
        """Where the files may be, in the order in which they are looked for."""
        folders = [self.folder / self.archive.__name__ / "raw", self.folder / "raw", self.folder]
        return folders if self.installed is None or self.root is not None else [*folders, self.installed]

    def _found(self) -> Path | None:
        """The first folder that holds all four files."""
        return next((place for place in self._folders if all(find_idx(place, name) for name in IMAGES + LABELS)), None)

    def _lack(self) -> str:
        if not self.folder.is_dir():
            return "does not exist"
        return f"does not hold {', '.join(IMAGES + LABELS)} (or .gz)"

    def _verify(self, images: Tensor, labels: Tensor, path: Path) -> None:
        size = tuple(images.shape[1:])
        if size != self.input_shape[1:]:
            raise UsageError(f"{path} holds images of {size[0]}x{size[1]} pixels; {self.name} has 28x28")
        if len(images) != len(labels):
            raise UsageError(f"{path} holds {len(images)} images, and its label file {len(labels)} labels")
        if len(images) < FEWEST:
            raise UsageError(f"{path} holds {len(images)} images; to be split it takes at least {FEWEST}")
        if int(labels.max()) >= self.num_classes:
            raise UsageError(f"the labels of {path} go up to {int(labels.max())}; {self.name} has ten classes, 0 to 9")


class FashionMNIST(MNIST):
    """70,000 pictures of clothes (Xiao et al., 2017), [N, 1, 28, 28] in [0, 1]; otherwise as MNIST.

    Where `root` is not set, the files of Debian's package dataset-fashion-mnist are used if there are no others.
    """

    description = "pictures of clothes, 28x28 grey"
    licence = "MIT"
    citation = (
        'Xiao, Rasul, Vollgraf, "Fashion-MNIST: a Novel Image Dataset for Benchmarking Machine Learning Algorithms", '
        "2017, arXiv 1708.07747"
    )
    source = (
        "Set dataset.download=true, install Debian's package dataset-fashion-mnist, or put the IDX files into "
        "FashionMNIST/raw in the data folder."
    )
    name = "fashion_mnist"
    archive = torchvision.datasets.FashionMNIST
    installed = Path("/usr/share/datasets/fashion-mnist")

    @checked_call
    def __init__(
        self, *, root: str | None = None, limit: Limit = None, epsilon: Epsilon = 0.1, download: bool = False
    ) -> None:
        super().__init__(root=root, limit=limit, epsilon=epsilon, download=download)

    @property
    def class_names(self) -> list[str]:
        return list(self.archive.classes)


def _file(folder: Path, name: str) -> Path:
    return find_idx(folder, name) or folder / name
