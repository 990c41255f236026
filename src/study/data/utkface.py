"""UTKFace, faces whose file names say age, gender and race."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from study.data.image_files import Reading, decoded
from study.data.listing import Listing
from study.data.module import SPLITS, DataModule, Epsilon, Limit
from study.data.source import Pixels, Source
from study.errors import UsageError
from study.runtime.settings import checked_call

HOME = "UTKFace"
NAME = re.compile(r"(?P<age>\d{1,3})_(?P<gender>[01])_(?P<race>[0-4])_\d.*")
GENDERS = ("male", "female")
RACES = ("white", "black", "asian", "indian", "other")
TWO_RACES = ("white", "non-white")
FEWEST = 12
"""Faces, so that no split is empty."""

log = logging.getLogger(__name__)


class UTKFace(DataModule):
    """23,705 faces, aligned and cropped, [N, 3, size, size] in [0, 1]; the set has no official split.

    Three quarters, drawn at random, are the train split, of the rest a third each is validation, repair and test (ICSE
    2026): 17,778 / 1,975 / 1,976 / 1,976 items.
    root: a folder that holds `UTKFace`, or is it, with files AGE_GENDER_RACE_DATE.jpg.chip.jpg; those whose name lacks
    a field, three of the 23,708 as they are distributed, are left out; size: height and width to which images are
    resized (bilinear); label: gender (two classes) or race (five); group: race (white, non-white), gender, or None.
    """

    description = "faces, 200x200 RGB: male or female? Gender and race as their annotators saw them"
    licence = "non-commercial research only; the photographs belong to their owners"
    citation = 'Zhang, Song, Qi, "Age Progression/Regression by Conditional Adversarial Autoencoder", CVPR 2017'
    source = (
        "Ask for the aligned and cropped faces at https://susanqq.github.io/UTKFace, and put them into UTKFace in the "
        "data folder."
    )
    name = "utkface"
    usual_sizes = (17_778, 1_975, 1_976, 1_976)
    recipe: ClassVar[Mapping[str, Any]] = {
        "epochs": 40,
        "stop_at": 0.903,
        "optimizer": "adam",
        "lr": 1e-3,
        "batch_size": 64,
        "augmentation": "crop_flip",
    }

    @checked_call
    def __init__(
        self,
        *,
        root: str | None = None,
        size: Annotated[int, Field(ge=8, le=512)] = 64,
        label: Literal["gender", "race"] = "gender",
        group: Literal["race", "gender"] | None = "race",
        limit: Limit = None,
        epsilon: Epsilon = 0.0127,
    ) -> None:
        super().__init__(root=root, limit=limit, epsilon=epsilon)
        if label == group:
            raise UsageError(f"dataset.group={group}: is the label; set dataset.group=null, or another label")
        self.input_shape = (3, size, size)
        self.mean, self.std = [0.6, 0.46, 0.39], [0.26, 0.23, 0.23]
        self.size, self.label, self.group = size, label, group
        self.group_names = {"race": list(TWO_RACES), "gender": list(GENDERS), None: None}[group]

    @property
    def class_names(self) -> list[str]:
        return list(GENDERS if self.label == "gender" else RACES)

    @property
    def random_splits(self) -> bool:
        return True

    @property
    def places(self) -> list[Path]:
        return [self.home]

    @property
    def home(self) -> Path:
        """The folder that holds the files, or where it is missing the one that should."""
        folders = [self.folder / HOME, self.folder]
        return next((folder for folder in folders if any(folder.glob("*_*_*.jpg"))), folders[0])

    def check(self) -> None:
        """Raise UsageError unless the folder holds a file with such a name."""
        if not any(NAME.fullmatch(path.name) for path in self.home.glob("*_*_*")):
            raise UsageError(
                f"dataset=utkface: {self.home} holds no file AGE_GENDER_RACE_DATE.jpg.chip.jpg (such as "
                "26_1_0_20170116.jpg.chip.jpg); ask for the aligned and cropped faces at "
                "https://susanqq.github.io/UTKFace, and set dataset.root=FOLDER or STUDY_DATA to the folder of UTKFace"
            )

    def read(self) -> Source:
        """Every face, by the names of the files; says in one line how many are left out."""
        paths = list(Listing().below(self.home))
        matches = {path: match for path in paths if (match := NAME.fullmatch(path.name))}
        if odd := [path.name for path in paths if path not in matches]:
            log.warning("dataset=utkface: %d file(s) left out, whose name lacks a field: %s ...", len(odd), odd[0])
        if len(matches) < FEWEST:
            raise UsageError(f"dataset=utkface: {self.home} holds {len(matches)} faces; it takes at least {FEWEST}")
        fields = {name: torch.tensor([int(match[name]) for match in matches.values()]) for name in ("gender", "race")}
        groups = {"race": (fields["race"] > 0).long(), "gender": fields["gender"], None: None}[self.group]
        pixels = decoded(list(matches), Reading((3, self.size, self.size), 3))
        return Pixels(pixels, fields[self.label], groups=groups)

    def divide(self, source: Source, generator: torch.Generator) -> dict[str, Tensor]:
        count = len(source.labels)
        train, validation = 3 * count // 4, count // 12
        repair = (count - train - validation) // 2
        order = torch.randperm(count, generator=generator)
        sizes = [train, validation, repair, count - train - validation - repair]
        return dict(zip(SPLITS, order.split(sizes), strict=True))
