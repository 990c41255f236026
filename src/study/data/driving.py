"""Steering a simulated car: the frames and the log that Udacity's simulator records."""

from __future__ import annotations

import csv
import re
from collections.abc import Mapping
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, ClassVar, NamedTuple, Self

import torch
from pydantic import Field
from torch import Tensor

from study.data.image_files import Reading, decoded
from study.data.module import SPLITS, DataModule, Epsilon, Limit
from study.data.source import Pixels, Source
from study.errors import UsageError
from study.runtime.settings import checked_call

LOG, IMAGES = "driving_log.csv", "IMG"
COLUMNS = ("center", "left", "right", "steering", "throttle", "brake", "speed")
"""Of a log without a line of names, as the simulator writes it."""
SHARES = (0.6, 0.1, 0.15, 0.15)
"""Of the blocks, for each split."""
FEWEST = 8
"""Blocks, so that every split has one."""
Side = Annotated[int, Field(ge=8, le=1024)]


class Frame(NamedTuple):
    """One line of the log: file name of the centre camera's image, and steering from -1 (left) to 1 (right)."""

    image: str
    steering: float

    @classmethod
    def of(cls, row: Mapping[str | None, Any], where: str) -> Self:
        """From the columns of a line; raises UsageError."""
        image = re.split(r"[/\\]", (row.get("center") or "").strip())[-1]
        try:
            steering = float(row.get("steering") or "")
        except ValueError:
            steering = float("nan")
        if not image or not -1 <= steering <= 1:
            raise UsageError(
                f"{where}: expected the centre camera's image and a steering from -1 to 1, in the columns "
                f"{', '.join(COLUMNS)}"
            )
        return cls(image, steering)


class Driving(DataModule):
    """Frames of a drive in Udacity's simulator, [N, 3, H, W] in [0, 1]: does the driver steer left, straight or right?

    Consecutive frames are nearly equal, so that splits are drawn by blocks of time, never by frame: 60 / 10 / 15 / 15 %
    of the blocks are train, validation, repair and test; of frames in a row that are not dealt to one split, the last
    `gap` before the other split are left out. Frames are in the order of their file names, which are times.
    root: a folder that holds `driving`, or is it: with `driving_log.csv` and `IMG`; a log may have been recorded
    elsewhere, as of its paths the file names count. thresholds: steering below the first is left, above the second
    right; block: its frames; gap: frames, about a tenth of a second each; size: height and width to which images are
    resized (bilinear); rows: first and last row of them that is kept, which leaves out the sky and the bonnet.
    """

    description = "frames of a simulated drive, 8,036 RGB images, steering in three bins"
    licence = "none stated by its owner, Udacity"
    citation = "Udacity, Self-Driving Car Engineer Nanodegree, behavioural cloning: sample of the drive of 2016-12-01"
    source = (
        "Put driving_log.csv and IMG of Udacity's simulator, a drive of your own too, into driving in the data folder."
    )
    name = "driving"
    affine_invariant = False  # a road further to the left is steered at further to the left
    recipe: ClassVar[Mapping[str, Any]] = {
        "epochs": 12,
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
        thresholds: tuple[float, float] = (-0.05, 0.05),
        block: Annotated[int, Field(ge=2)] = 200,
        gap: Annotated[int, Field(ge=0)] = 10,
        size: tuple[Side, Side] = (64, 128),
        rows: tuple[int, int] | None = (28, 55),
        limit: Limit = None,
        epsilon: Epsilon = 0.0157,
    ) -> None:
        super().__init__(root=root, limit=limit, epsilon=epsilon)
        self.thresholds = thresholds
        self.block, self.gap = block, gap
        self.size = size
        self.first, self.last = rows or (0, size[0] - 1)
        self._check_settings()
        self.input_shape = (3, self.last - self.first + 1, size[1])

    @property
    def class_names(self) -> list[str]:
        return ["left", "straight", "right"]

    @property
    def random_splits(self) -> bool:
        return True

    @property
    def places(self) -> list[Path]:
        return [home / name for home in self._homes for name in (LOG, IMAGES)]

    @property
    def _homes(self) -> list[Path]:
        """Where the folder may be, in the order in which it is looked for."""
        return [self.folder / "driving", self.folder]

    @property
    def home(self) -> Path:
        """The folder that holds the log, or where it is missing the one that should."""
        return next((home for home in self._homes if (home / LOG).is_file()), self._homes[0])

    def check(self) -> None:
        """Raise UsageError unless the log and its images are there, and the log is long enough."""
        for name in (LOG, IMAGES):
            if not (self.home / name).exists():
                raise UsageError(
                    f"dataset=driving: there is no {self.home / name}; set dataset.root=FOLDER or STUDY_DATA to a "
                    f"folder that holds {LOG} and {IMAGES} of Udacity's simulator, or a folder driving with them"
                )
        if (blocks := -(-len(self.log) // self.block)) < FEWEST:
            raise UsageError(
                f"dataset.block={self.block}: the {len(self.log):,} frames of {self.home / LOG} are {blocks} blocks of "
                f"so many, and it takes at least {FEWEST}"
            )

    @cached_property
    def log(self) -> list[Frame]:
        """The frames in the order of time; raises UsageError for a log that cannot be read."""
        file = self.home / LOG
        with file.open(encoding="utf-8", errors="replace", newline="") as lines:
            named = lines.readline().replace(" ", "").startswith("center,")
            lines.seek(0)
            rows = csv.DictReader(lines, None if named else COLUMNS, skipinitialspace=True)
            frames = [Frame.of(row, f"{file}, line {number}") for number, row in enumerate(rows, start=1 + named)]
        frames.sort()
        for frame, following in pairwise(frames):
            if frame.image == following.image:
                raise UsageError(f"{file}: {frame.image} is in two lines; each frame is to be there once")
        return frames

    def read(self) -> Source:
        paths = [self.home / IMAGES / frame.image for frame in self.log]
        frames = decoded(paths, Reading((3, *self.size), 3))
        steering = torch.tensor([frame.steering for frame in self.log], dtype=torch.float64)
        left, right = self.thresholds
        labels = 1 - (steering < left).long() + (steering > right).long()
        return Pixels(frames[:, :, self.first : self.last + 1].contiguous(), labels)

    def divide(self, source: Source, generator: torch.Generator) -> dict[str, Tensor]:
        blocks = torch.arange(len(source.labels)) // self.block
        split = dealt(int(blocks[-1]) + 1, generator)[blocks]
        changes = (split[1:] != split[:-1]).nonzero().flatten() + 1
        near = (changes[:, None] - 1 - torch.arange(self.gap)).flatten()
        kept = torch.ones(len(split), dtype=torch.bool)
        kept[near[near >= 0]] = False
        return {name: ((split == place) & kept).nonzero().flatten() for place, name in enumerate(SPLITS)}

    def _check_settings(self) -> None:
        left, right = self.thresholds
        if not left < right:
            raise UsageError(f"dataset.thresholds=[{left:g},{right:g}]: the first should be below the second")
        if not 0 <= self.first < self.last < self.size[0]:
            raise UsageError(
                f"dataset.rows=[{self.first},{self.last}]: should be the first and the last row to keep of "
                f"{self.size[0]}, from 0 to {self.size[0] - 1}"
            )
        if self.gap >= self.block:
            raise UsageError(f"dataset.gap={self.gap}: should be less than dataset.block={self.block}")


def dealt(blocks: int, generator: torch.Generator) -> Tensor:
    """The split of each block ([blocks] int64, its place in `SPLITS`), drawn at random in the shares of `SHARES`."""
    counts = [max(1, round(share * blocks)) for share in SHARES[1:]]
    split = torch.zeros(blocks, dtype=torch.int64)
    order = torch.randperm(blocks, generator=generator)[: sum(counts)]
    split[order] = torch.repeat_interleave(torch.arange(1, len(SPLITS)), torch.tensor(counts))
    return split
