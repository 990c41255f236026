"""GTSRB, the German traffic signs, in the layout that torchvision and the benchmark's archives have."""

from __future__ import annotations

import csv
import os
import re
from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, ClassVar
from zipfile import ZipFile

import torch
from pydantic import Field
from torch import Tensor

from study.data.download import Remote, download, fetched
from study.data.image_files import Reading, decoded
from study.data.module import DataModule, Epsilon, Limit
from study.data.source import Pixels, Source
from study.errors import UsageError
from study.runtime.settings import checked_call

TRAINING, IMAGES, TRUTH = "GTSRB/Training", "GTSRB/Final_Test/Images", "GT-final_test.csv"
URL = "https://sid.erda.dk/public/archives/daaeac0d7ce1152aea9b61d9f1e19370/"
ARCHIVES = {
    "GTSRB-Training_fixed.zip": "513f3c79a4c5141765e10e952eaa2478",
    "GTSRB_Final_Test_Images.zip": "c7e4e6327067d32654124b0fe9e82185",
    "GTSRB_Final_Test_GT.zip": "fe31e9c9270bbcd7b84b7f21a9d9d9e5",
}
"""With the MD5 of each, as torchvision states it."""
HELD_OUT = 0.1
"""Share of each class's tracks that are the validation split."""
LIMITS = (20, 30, 50, 60, 70, 80)
CLASSES = (
    *(f"speed limit {limit}" for limit in LIMITS),
    "end of speed limit 80",
    "speed limit 100",
    "speed limit 120",
    "no overtaking",
    "no overtaking by lorries",
    "priority at the next crossing",
    "priority road",
    "give way",
    "stop",
    "no vehicles",
    "no lorries",
    "no entry",
    "danger",
    "bend to the left",
    "bend to the right",
    "double bend",
    "uneven road",
    "slippery road",
    "road narrows on the right",
    "road works",
    "traffic lights",
    "pedestrians",
    "children",
    "cyclists",
    "ice or snow",
    "wild animals",
    "end of all limits",
    "turn right",
    "turn left",
    "straight on",
    "straight on or right",
    "straight on or left",
    "pass on the right",
    "pass on the left",
    "roundabout",
    "end of no overtaking",
    "end of no overtaking by lorries",
)


class GTSRB(DataModule):
    """German Traffic Sign Recognition Benchmark, [N, 3, size, size] in [0, 1]: 43 classes, the largest 15 times the
    smallest.

    The official training images are frames of tracks, each of which shows one sign as a car comes nearer: a tenth of
    each class's tracks (one at least) is the validation split, all frames of a track together. Repair and test are
    random halves of the official test images, which are of other signs than the training images; whether several of
    them show one sign is not published.
    root: a folder that holds `gtsrb`, or is it: with `GTSRB/Training/CLASS/TRACK_FRAME.ppm`, `GTSRB/Final_Test/Images`
    and `GT-final_test.csv`; size: height and width to which images are resized (bilinear); download: fetch `gtsrb` into
    `root`, and verify the checksums of its archives, if it is not there.
    """

    description = "traffic signs as seen from a car, 26,640 + 12,630 RGB images of 15 to 250 pixels"
    licence = "none stated by its authors, who made it public for research"
    citation = (
        'Stallkamp, Schlipsing, Salmen, Igel, "Man vs. computer: Benchmarking machine learning algorithms for traffic '
        'sign recognition", Neural Networks 32, 2012'
    )
    source = "Set dataset.download=true, or put torchvision's folder gtsrb into the data folder."
    name = "gtsrb"
    recipe: ClassVar[Mapping[str, Any]] = {
        "epochs": 15,
        "optimizer": "adam",
        "lr": 1e-3,
        "batch_size": 64,
        "augmentation": "crop",
    }

    @checked_call
    def __init__(
        self,
        *,
        root: str | None = None,
        size: Annotated[int, Field(ge=8, le=512)] = 32,
        download: bool = False,
        limit: Limit = None,
        epsilon: Epsilon = 0.0157,
    ) -> None:
        super().__init__(root=root, limit=limit, epsilon=epsilon)
        self.input_shape = (3, size, size)
        self.size = size
        self.download = download

    @property
    def class_names(self) -> list[str]:
        return list(CLASSES)

    @property
    def places(self) -> list[Path]:
        return [home / name for home in self._homes for name in (TRAINING, IMAGES, TRUTH)]

    @property
    def _homes(self) -> list[Path]:
        """Where the folder may be, in the order in which it is looked for."""
        return [self.folder / "gtsrb", self.folder]

    @property
    def home(self) -> Path:
        """The folder that holds all, or where it is missing the one that should."""
        return next((home for home in self._homes if (home / TRAINING).is_dir()), self._homes[0])

    def check(self) -> None:
        """Raise UsageError unless the folders and the file of labels are there, or may be downloaded."""
        if self.download and not self._homes[0].exists() and not self.home.exists():
            return
        for name in (TRAINING, IMAGES, TRUTH):
            if not (self.home / name).exists():
                raise UsageError(
                    f"dataset=gtsrb: there is no {self.home / name}; set dataset.root=FOLDER or STUDY_DATA to a folder "
                    "that holds torchvision's gtsrb, or dataset.download=true to fetch it where there is none"
                )

    def prepare_data(self) -> None:
        """Download the archives if they are not there; raises UsageError if that fails."""
        if self.download and not self.home.exists():
            home = self._homes[0]
            fetched(home, f"unpack {', '.join(ARCHIVES)} in {home}", _fetch)

    @cached_property
    def training(self) -> list[tuple[Path, int, int]]:
        """Every training image with its label and its track (counted from 0 over all classes); raises UsageError."""
        return list(self._frames())

    def read(self) -> Source:
        test = list(self._test())
        paths = [path for path, _, _ in self.training] + [path for path, _ in test]
        labels = [label for _, label, _ in self.training] + [label for _, label in test]
        return Pixels(decoded(paths, Reading((3, self.size, self.size), 3)), torch.tensor(labels))

    def divide(self, source: Source, generator: torch.Generator) -> dict[str, Tensor]:
        tracks = torch.tensor([track for _, _, track in self.training])
        held = torch.isin(tracks, self._held_out(tracks, source.labels[: len(tracks)], generator))
        test = len(tracks) + torch.randperm(len(source.labels) - len(tracks), generator=generator)
        return {
            "train": (~held).nonzero().flatten(),
            "validation": held.nonzero().flatten(),
            "repair": test[: len(test) // 2],
            "test": test[len(test) // 2 :],
        }

    @staticmethod
    def _held_out(tracks: Tensor, labels: Tensor, generator: torch.Generator) -> Tensor:
        """The tracks of the validation split; tracks, labels [N]: of each training image."""
        chosen = []
        for label in labels.unique().tolist():
            its = tracks[labels == label].unique()
            count = max(1, round(HELD_OUT * len(its)))
            chosen.append(its[torch.randperm(len(its), generator=generator)[:count]])
        return torch.cat(chosen)

    def _frames(self) -> Iterator[tuple[Path, int, int]]:
        known: dict[tuple[int, str], int] = {}
        for label in range(len(CLASSES)):
            folder = self.home / TRAINING / f"{label:05}"
            names = sorted(os.listdir(folder)) if folder.is_dir() else []
            frames = [name for name in names if name.endswith(".ppm")]
            for name in frames:
                match = re.fullmatch(r"(\d+)_\d+\.ppm", name)
                if match is None:
                    raise UsageError(f"{folder / name}: is not named TRACK_FRAME.ppm, as 00000_00004.ppm is")
                yield folder / name, label, known.setdefault((label, match.group(1)), len(known))
            if sum(of == label for of, _ in known) < 2:
                raise UsageError(
                    f"dataset=gtsrb: {folder} holds images of fewer than two tracks (TRACK_FRAME.ppm); each of the 43 "
                    "classes takes two, one for train and one for validation"
                )

    def _test(self) -> Iterator[tuple[Path, int]]:
        """Every test image with its label; raises UsageError."""
        file, seen = self.home / TRUTH, set()
        with file.open(encoding="utf-8", errors="replace", newline="") as lines:
            for number, row in enumerate(csv.DictReader(lines, delimiter=";", skipinitialspace=True), start=2):
                name, label = row.get("Filename") or "", row.get("ClassId") or ""
                if not re.fullmatch(r"\w+\.ppm", name) or not label.isdecimal() or int(label) >= len(CLASSES):
                    raise UsageError(
                        f"{file}, line {number}: expected a row with Filename (NUMBER.ppm) and ClassId (0 to 42), "
                        "separated by semicolons, as the benchmark's file of labels has them"
                    )
                if name in seen:
                    raise UsageError(f"{file}, line {number}: {name} has a label already")
                seen.add(name)
                yield self.home / IMAGES / name, int(label)
        if len(seen) < 2:
            raise UsageError(f"{file}: holds {len(seen)} labels; repair and test take one each at least")


def _fetch(room: Path) -> None:
    """Put `gtsrb` into an empty folder, as torchvision lays it out."""
    for name, md5 in ARCHIVES.items():
        download(Remote((f"{URL}{name}",), md5), name, room)
        with ZipFile(room / name) as archive:
            archive.extractall(room / "gtsrb")
        (room / name).unlink()  # half a gigabyte in all
