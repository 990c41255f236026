"""The subjects that `python -m benchmarks.subjects` trains and repairs, and at which scale."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

UNANIMOUS = "joint, 4 runs"
ROWS: Mapping[str, Sequence[str]] = {
    "finetune": (),
    "joint": (),
    UNANIMOUS: ("method.runs=4",),
    "arachne": (),
    "fsgmix": (),
}
"""An approach, or one of its settings, by what the tables call it: NAME or NAME, SETTING; and the settings."""


class Check(NamedTuple):
    """A quick model of another kind on the data of a subject, and its accuracy in percent."""

    model: str
    accuracy: float


@dataclass(frozen=True)
class Subject:
    """A data set at the scale that a core trains and repairs with every approach in some ten minutes.

    dataset: its name in `conf/dataset`; label: what the table calls it; scale: network and share of the data, in words;
    overrides: the settings of that scale; epochs: passes of `joint`, as many as it takes by itself, and of `finetune`,
    its control; views: passes of `fsgmix`, which trains on three views of each input, None: as many as it takes by
    itself; splits: how often the data is split and a faulty model trained, where one test split is too small to tell
    approaches apart; unanimous: whether `joint` is run with several trainings that have to agree, too; attacked: test
    inputs under the margin attack; check: what the faulty models can be compared with, None where there is nothing.
    """

    dataset: str
    scale: str
    overrides: tuple[str, ...] = ()
    label: str = ""
    epochs: int = 20
    views: int | None = None
    splits: int = 1
    unanimous: bool = False
    attacked: int = 100
    check: Check | None = None

    @property
    def name(self) -> str:
        """What the table calls it."""
        return self.label or self.dataset

    @property
    def rows(self) -> list[str]:
        """Which of `ROWS` it is repaired by."""
        return [name for name in ROWS if self.unanimous or name != UNANIMOUS]

    @property
    def seeds(self) -> int:
        """How many seeds of each repair there are: three of one faulty model, or one of each."""
        return 3 if self.splits == 1 else self.splits


NARROW = "architecture.width=0.125"
SUBJECTS: Sequence[Subject] = (
    Subject(
        "german",
        "default",
        splits=10,
        unanimous=True,
        attacked=500,
        check=Check("logistic regression, five folds", 75.1),
    ),
    Subject(
        "compas",
        "default",
        splits=10,
        unanimous=True,
        attacked=500,
        check=Check("logistic regression without race, five folds", 67.6),
    ),
    Subject("adult", "default", epochs=10, attacked=500, check=Check("logistic regression", 85.2)),
    Subject("digits_s", "default", splits=10, unanimous=True, attacked=500),
    Subject(
        "medmnist",
        "a small CNN with BatchNorm",
        ("dataset.flag=breastmnist", "architecture=small_cnn", "architecture.batch_norm=true"),
        label="breastmnist",
        splits=10,
        unanimous=True,
        check=Check("small CNN", 88.5),
    ),
    Subject(
        "medmnist",
        "an eighth of ResNet18's width",
        ("dataset.flag=pneumoniamnist", NARROW),
        label="pneumoniamnist",
        check=Check("small CNN", 84.1),
    ),
    Subject(
        "utkface",
        "a quarter of FaceNet's width, 6,000 faces",
        ("architecture=facenet_small",),
        unanimous=True,
        check=Check("small CNN, 5,000 training faces", 86.1),
    ),
    Subject(
        "gtsrb",
        "a quarter of VGG11's width, 7,841 + 3,158 images, 40 epochs",
        ("architecture.width=0.25", "faulty.epochs=40"),
        check=Check("small CNN", 92.6),
    ),
    Subject("mnist_s", "default", epochs=10),
    Subject(
        "cifar10",
        "a quarter of VGG16-BN's width, all 45,000 training images, 10 epochs, batches of 64",
        ("architecture.width=0.25", "faulty.epochs=10", "faulty.batch_size=64"),
        epochs=10,
        views=1,
        check=Check("CNN of three layers", 70.6),
    ),
    Subject(
        "cifar10s",
        "an eighth of ResNet18's width, 5,000 images of each split, 15 epochs, batches of 32",
        (NARROW, "dataset.limit=5000", "faulty.epochs=15", "faulty.batch_size=32"),
        epochs=10,
        views=1,
    ),
    Subject("swapped_operands", "default", check=Check("CNN over tokens", 68.6)),
    Subject(
        "bugs2fix",
        "default, trained on nine tenths of the valid part",
        check=Check("logistic regression on tf-idf", 59.9),
    ),
    Subject(
        "driving",
        "half the width",
        ("architecture.width=0.5",),
        check=Check("small CNN on the road's part of the frame", 68.4),
    ),
)
