"""CIFAR-10, out of its batch files or out of folders of images."""

from __future__ import annotations

import tarfile
from collections.abc import Iterator, Mapping
from itertools import combinations
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor

from study.data.cifar_batches import SHAPE, read_batch
from study.data.download import Remote, download, fetched
from study.data.drawing import completed
from study.data.image_files import Reading, decoded
from study.data.image_sizes import common_size
from study.data.listing import Listing
from study.data.module import DataModule, Epsilon, Limit
from study.data.source import Pixels, Source
from study.errors import UsageError
from study.runtime.settings import checked_call

BATCHES, FOLDERS = "cifar-10-batches-py", "cifar10"
FILES = {"train": tuple(f"data_batch_{number}" for number in range(1, 6)), "test": ("test_batch",)}
ARCHIVE = "cifar-10-python.tar.gz"
REMOTE = Remote((f"https://www.cs.toronto.edu/~kriz/{ARCHIVE}",), "c58f30108f718f92721af3b95e74349a")
CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
FEWEST = 10
"""Images in either part, so that no split is empty."""


class CIFAR10(DataModule):
    """60,000 pictures of ten kinds of things, [N, 3, 32, 32] in [0, 1].

    A random tenth of the official training set is the validation split; random halves of the official test set are the
    repair and the test split (ICSE 2026): 45,000 / 5,000 / 5,000 / 5,000 items.
    root: a folder with the batch files in it or in `cifar-10-batches-py`, whatever their checksums; or with the images
    in train/CLASS and test/CLASS, there or in `cifar10`, which count in the order of their file names; download: fetch
    the batch files into `root`, and verify the checksum of their archive, if nothing is there.
    """

    description = "pictures of ten kinds of animals and vehicles, 32x32 RGB"
    licence = "none stated by its authors, who ask for the citation"
    citation = (
        'Krizhevsky, "Learning Multiple Layers of Features from Tiny Images", technical report, University of Toronto, '
        "2009"
    )
    source = (
        "Set dataset.download=true, or put cifar-10-batches-py, or cifar10 with the images in train/CLASS and "
        "test/CLASS, into the data folder."
    )
    name = "cifar10"
    input_shape = SHAPE
    usual_sizes = (45_000, 5_000, 5_000, 5_000)
    recipe: ClassVar[Mapping[str, Any]] = {
        "epochs": 60,
        "stop_at": 0.862,
        "optimizer": "adam",
        "lr": 1e-3,
        "batch_size": 128,
        "augmentation": "crop_flip",
    }

    @checked_call
    def __init__(
        self, *, root: str | None = None, limit: Limit = None, epsilon: Epsilon = 0.0077, download: bool = False
    ) -> None:
        super().__init__(root=root, limit=limit, epsilon=epsilon)
        self.mean, self.std = [0.4914, 0.4822, 0.4465], [0.247, 0.243, 0.262]  # of the training set, as in the study
        self.download = download

    @property
    def class_names(self) -> list[str]:
        return list(CLASSES)

    @property
    def places(self) -> list[Path]:
        files = [home / name for home in self._batch_homes for names in FILES.values() for name in names]
        return [*files, *(home / part for home in self._image_homes for part in FILES)]

    @property
    def _batch_homes(self) -> list[Path]:
        """Where the batch files may be, in the order in which they are looked for."""
        return [self.folder / BATCHES, self.folder]

    @property
    def _image_homes(self) -> list[Path]:
        return [self.folder / FOLDERS, self.folder]

    def check(self) -> None:
        """Raise UsageError unless the files are there or may be downloaded."""
        if self._batches() is not None:
            return
        images = self._images()
        if images is not None:
            for part in FILES:
                for name in CLASSES:
                    if not (images / part / name).is_dir():
                        raise UsageError(
                            f"dataset=cifar10: {images / part} holds no folder {name}; it takes ten of them"
                        )
        elif not self.download:
            raise UsageError(
                f"dataset=cifar10: {self.folder} {self._lack()}; set dataset.root=FOLDER or STUDY_DATA to a folder "
                f"that holds {BATCHES}, or {FOLDERS} with the images in train/CLASS and test/CLASS, or "
                "dataset.download=true to fetch it"
            )

    def prepare_data(self) -> None:
        """Download the batch files if nothing is there; raises UsageError if that fails."""
        if self.download and self._batches() is None and self._images() is None:
            fetched(self.folder / BATCHES, f"unpack it in {self.folder}", _fetch)

    def read(self) -> Source:
        home, images = self._batches(), self._images()
        if home is None and images is None:
            raise UsageError(f"dataset=cifar10: {self.folder} {self._lack()}")
        parts = _of_images(images) if home is None and images is not None else _of_batches(home or self.folder)
        pixels, labels, self.sizes = [], [], {}
        for part, its_pixels, its_labels in parts:
            pixels.append(its_pixels)
            labels.append(its_labels)
            self.sizes[part] = len(its_labels)
            if len(its_labels) < FEWEST:
                raise UsageError(
                    f"dataset=cifar10: the {part} part holds {len(its_labels)} images; it takes at least {FEWEST}"
                )
        return Pixels(torch.cat(pixels), torch.cat(labels))

    def divide(self, source: Source, generator: torch.Generator) -> dict[str, Tensor]:
        return completed(self.sizes, generator, "dataset=cifar10")

    def _batches(self) -> Path | None:
        """The first folder that holds all batch files."""
        names = [name for part in FILES.values() for name in part]
        return next((home for home in self._batch_homes if all((home / name).is_file() for name in names)), None)

    def _images(self) -> Path | None:
        """The first folder that holds train and test with a class folder each."""
        return next((home for home in self._image_homes if all(_has_classes(home / part) for part in FILES)), None)

    def _lack(self) -> str:
        if not self.folder.is_dir():
            return "does not exist"
        for home in self._batch_homes:
            missing = [name for part in FILES.values() for name in part if not (home / name).is_file()]
            if len(missing) < 6:
                place = (home / missing[0]).relative_to(self.folder)
                return f"lacks {place} and holds other batch files, so take them away and get {BATCHES} again"
        return f"holds no {BATCHES} and no {FOLDERS}"


def _fetch(room: Path) -> None:
    """Put the folder of batch files into an empty one."""
    download(REMOTE, ARCHIVE, room)
    (room / BATCHES).mkdir()
    with tarfile.open(room / ARCHIVE) as archive:
        for name in [name for part in FILES.values() for name in part]:
            member = archive.extractfile(f"{BATCHES}/{name}")
            assert member is not None  # the checksum is that of an archive with these files
            (room / BATCHES / name).write_bytes(member.read())


def _has_classes(folder: Path) -> bool:
    return any((folder / name).is_dir() for name in CLASSES)


def _of_batches(home: Path) -> Iterator[tuple[str, Tensor, Tensor]]:
    """Each part's images and labels; raises UsageError for files that cannot be, or are one another's copies."""
    batches = {name: read_batch(home / name, len(CLASSES)) for part in FILES.values() for name in part}
    for first, second in combinations(batches, 2):
        if torch.equal(batches[first][0], batches[second][0]):
            raise UsageError(f"{home / first} and {second} hold the same images; get {BATCHES} again")
    for part, names in FILES.items():
        yield part, torch.cat([batches[name][0] for name in names]), torch.cat([batches[name][1] for name in names])


def _of_images(home: Path) -> Iterator[tuple[str, Tensor, Tensor]]:
    """As `_of_batches`; the images of a part count in the order of their names, which are often their numbers."""
    listings = {part: _listed(home / part) for part in FILES}
    pixels = decoded([path for items in listings.values() for path, _ in items], Reading(SHAPE, 3))
    for part, its_pixels in zip(FILES, pixels.split([len(items) for items in listings.values()]), strict=True):
        yield part, its_pixels, torch.tensor([label for _, label in listings[part]], dtype=torch.int64)


def _listed(folder: Path) -> list[tuple[Path, int]]:
    """The files of a part with their labels; raises UsageError if their first ones are of another size."""
    files = Listing()
    listings = [[(path, label) for path in files.below(folder / name)] for label, name in enumerate(CLASSES)]
    firsts = [listing[0][0] for listing in listings if listing]
    if firsts and (size := common_size(firsts, f"dataset=cifar10: {folder}")) != SHAPE[1:]:
        raise UsageError(f"{firsts[0]} is of {size[0]}x{size[1]} pixels; images of CIFAR-10 are of 32x32")
    return sorted((item for listing in listings for item in listing), key=lambda item: (item[0].name, item[1]))
