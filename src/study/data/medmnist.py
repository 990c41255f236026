"""MedMNIST v2: medical images of 28x28 pixels, out of the .npz files of its authors."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property, partial
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from study.data.download import Remote, download, fetched
from study.data.module import DataModule, Epsilon, Limit
from study.data.source import Pixels, Source
from study.errors import UsageError, nearest
from study.runtime.settings import checked_call

SIDE = 28
PARTS = ("train", "val", "test")
FEWEST = 10
"""Images in the test part, which is halved."""
FEW = 2_000
"""Images in the train part, below which the usual number of passes would be a few steps."""
URL = "https://zenodo.org/records/10519652/files/{flag}.npz?download=1"
ORGANS = (
    *("bladder", "femur-left", "femur-right", "heart", "kidney-left", "kidney-right", "liver", "lung-left"),
    *("lung-right", "pancreas", "spleen"),
)


class Flag(NamedTuple):
    """One of the data sets: items of its parts train, val and test, channels, MD5 of its file, names of its classes."""

    sizes: tuple[int, int, int]
    channels: int
    md5: str
    classes: tuple[str, ...]


FLAGS = {
    "pathmnist": Flag(
        (89_996, 10_004, 7_180),
        3,
        "a8b06965200029087d5bd730944a56c1",
        (
            *("adipose", "background", "debris", "lymphocytes", "mucus", "smooth muscle", "normal colon mucosa"),
            *("cancer-associated stroma", "colorectal adenocarcinoma epithelium"),
        ),
    ),
    "dermamnist": Flag(
        (7_007, 1_003, 2_005),
        3,
        "0744692d530f8e62ec473284d019b0c7",
        (
            *(
                "actinic keratoses and intraepithelial carcinoma",
                "basal cell carcinoma",
                "benign keratosis-like lesions",
            ),
            *("dermatofibroma", "melanoma", "melanocytic nevi", "vascular lesions"),
        ),
    ),
    "octmnist": Flag(
        (97_477, 10_832, 1_000),
        1,
        "c68d92d5b585d8d81f7112f81e2d0842",
        ("choroidal neovascularization", "diabetic macular edema", "drusen", "normal"),
    ),
    "pneumoniamnist": Flag((4_708, 524, 624), 1, "28209eda62fecd6e6a2d98b1501bb15f", ("normal", "pneumonia")),
    "retinamnist": Flag(
        (1_080, 120, 400), 3, "bd4c0672f1bba3e3a89f0e4e876791e4", tuple(f"grade {grade}" for grade in range(5))
    ),
    "breastmnist": Flag((546, 78, 156), 1, "750601b1f35ba3300ea97c75c52ff8f6", ("malignant", "normal or benign")),
    "bloodmnist": Flag(
        (11_959, 1_712, 3_421),
        3,
        "7053d0359d879ad8a5505303e11de1dc",
        (
            *("basophil", "eosinophil", "erythroblast", "immature granulocyte", "lymphocyte", "monocyte", "neutrophil"),
            "platelet",
        ),
    ),
    "tissuemnist": Flag(
        (165_466, 23_640, 47_280),
        1,
        "ebe78ee8b05294063de985d821c1c34b",
        (
            *("collecting duct, connecting tubule", "distal convoluted tubule", "glomerular endothelial cells"),
            *("interstitial endothelial cells", "leukocytes", "podocytes", "proximal tubule segments"),
            "thick ascending limb",
        ),
    ),
    "organamnist": Flag((34_561, 6_491, 17_778), 1, "68e3f8846a6bd62f0c9bf841c0d9eacc", ORGANS),
    "organcmnist": Flag((12_975, 2_392, 8_216), 1, "b9ceb9546e10131b32923c5bbeaea2b1", ORGANS),
    "organsmnist": Flag((13_932, 2_452, 8_827), 1, "9ab87b696fb54e2a387ebe992d6ed5f1", ORGANS),
}
"""As the package medmnist 3.0.2 lists them."""


class MedMNIST(DataModule):
    """A data set of MedMNIST v2, [N, 1 or 3, 28, 28] in [0, 1].

    The official splits are train and validation; random halves of the official test split are repair and test.
    flag: which data set; chestmnist, whose images have several labels each, and those in 3D are not among them. The
    grades of retinamnist are taken as five classes: their order plays no part. root: a folder with FLAG.npz in it or in
    `medmnist`; download: fetch the file into `root/medmnist` if it is not there, and verify its checksum; name: what
    results call it, None for the flag.
    """

    description = "medical images, 28x28 grey or RGB: breast ultrasound, chest X-rays, blood cells, ..."
    licence = "CC BY 4.0, dermamnist CC BY-NC 4.0"
    citation = (
        'Yang, Shi, Wei, Liu, Zhao, Ke, Pfister, Ni, "MedMNIST v2: A large-scale lightweight benchmark for 2D and 3D '
        'biomedical image classification", Scientific Data 10:41, 2023, arXiv 2110.14795; and the source of each data '
        "set, named there"
    )
    source = "Set dataset.download=true, or put FLAG.npz into medmnist in the data folder."
    name = "medmnist"
    recipe: ClassVar[Mapping[str, Any]] = {
        "epochs": 15,
        "optimizer": "adam",
        "lr": 1e-3,
        "batch_size": 64,
        "augmentation": "none",
    }

    @checked_call
    def __init__(
        self,
        *,
        flag: str = "pneumoniamnist",
        root: str | None = None,
        name: str | None = None,
        download: bool = False,
        limit: Limit = None,
        epsilon: Epsilon = 0.0157,
    ) -> None:
        super().__init__(root=root, limit=limit, epsilon=epsilon)
        self.flag = flag
        self.known = _known(flag)
        self.title = name or flag
        if self.known.sizes[0] < FEW:
            self.recipe = {**MedMNIST.recipe, "epochs": 45}  # type: ignore[misc]
        self.download = download
        self.input_shape = (self.known.channels, SIDE, SIDE)
        train, validation, test = self.known.sizes
        self.usual_sizes = (train, validation, test // 2, test - test // 2)

    @property
    def class_names(self) -> list[str]:
        return list(self.known.classes)

    @property
    def places(self) -> list[Path]:
        return [self.folder / "medmnist" / f"{self.flag}.npz", self.folder / f"{self.flag}.npz"]

    @property
    def file(self) -> Path:
        """The file, or where it is missing the place where it should be."""
        return next((place for place in self.places if place.is_file()), self.places[0])

    @property
    def presentation(self) -> list[Any]:
        """As `DataModule.presentation`, with the flag in place of the family."""
        return [self.flag, *super().presentation[1:]]

    def check(self) -> None:
        """Raise UsageError unless the file is there or may be downloaded."""
        if not self.file.is_file() and not self.download:
            raise UsageError(
                f"dataset.flag={self.flag}: there is no {self.file}; set dataset.root=FOLDER or STUDY_DATA to a folder "
                "that holds it, in it or in medmnist, or dataset.download=true to fetch it"
            )

    def prepare_data(self) -> None:
        """Download the file if it is not there; raises UsageError if that fails."""
        if self.download and not self.file.is_file():
            remote = Remote((URL.format(flag=self.flag),), self.known.md5)
            fetched(self.file, f"put it into {self.file.parent}", partial(download, remote, self.file.name))

    @cached_property
    def parts(self) -> list[tuple[NDArray[np.uint8], NDArray[Any]]]:
        """Images and labels of train, val and test; raises UsageError for a file that is not of this data set."""
        arrays = _arrays(self.file)
        parts = [self._part(arrays, part) for part in PARTS]
        sizes = tuple(len(labels) for _, labels in parts)
        others = [flag for flag, known in FLAGS.items() if known.sizes == sizes]
        if others and self.flag not in others:
            raise UsageError(f"{self.file} holds as many images as {others[0]} has; get {self.flag} anew")
        if sizes[2] < FEWEST:
            raise UsageError(f"{self.file} holds {sizes[2]} test images; to be halved it takes at least {FEWEST}")
        return parts

    def read(self) -> Source:
        images = torch.cat([torch.from_numpy(images) for images, _ in self.parts])
        labels = torch.cat([torch.from_numpy(labels.astype(np.int64)).flatten() for _, labels in self.parts])
        channels_first = images[:, None] if images.dim() == 3 else images.permute(0, 3, 1, 2).contiguous()
        return Pixels(channels_first, labels)

    def divide(self, source: Source, generator: torch.Generator) -> dict[str, Tensor]:
        sizes = [len(labels) for _, labels in self.parts]
        train, validation, test = torch.arange(sum(sizes)).split(sizes)
        shuffled = test[torch.randperm(len(test), generator=generator)]
        half = len(test) // 2
        return {"train": train, "validation": validation, "repair": shuffled[:half], "test": shuffled[half:]}

    def _part(self, arrays: Mapping[str, NDArray[Any]], part: str) -> tuple[NDArray[np.uint8], NDArray[Any]]:
        images, labels = arrays[f"{part}_images"], arrays[f"{part}_labels"]
        shape = (SIDE, SIDE) if self.known.channels == 1 else (SIDE, SIDE, 3)
        if images.dtype != np.uint8 or images.shape[1:] != shape:
            told = "x".join(map(str, images.shape[1:]))
            raise UsageError(
                f"{self.file}: {part}_images are {told} of {images.dtype}; {self.flag} has {'x'.join(map(str, shape))} "
                "of uint8"
            )
        if labels.dtype.kind not in "iu" or labels.size != len(images) or len(images) == 0:
            raise UsageError(
                f"{self.file}: {part}_labels are {'x'.join(map(str, labels.shape))} of {labels.dtype}; expected one "
                f"whole number for each of the {len(images)} images"
            )
        if labels.min() < 0 or labels.max() >= self.num_classes:
            raise UsageError(
                f"{self.file}: {part}_labels go from {labels.min()} to {labels.max()}; {self.flag} has "
                f"{self.num_classes} classes, 0 to {self.num_classes - 1}"
            )
        return images, labels


def _known(flag: str) -> Flag:
    if flag in FLAGS:
        return FLAGS[flag]
    if flag == "chestmnist":
        raise UsageError(
            "dataset.flag=chestmnist: its images have several labels each; only one label an image is taken"
        )
    if flag.endswith("3d"):
        raise UsageError(f"dataset.flag={flag}: is in 3D; only images are taken, those of {', '.join(FLAGS)}")
    raise UsageError(f"dataset.flag={flag}: there is no such data set; {nearest(flag, FLAGS)}")


def _arrays(file: Path) -> dict[str, NDArray[Any]]:
    """The six arrays, none of which could run code; raises UsageError."""
    names = [f"{part}_{kind}" for part in PARTS for kind in ("images", "labels")]
    try:
        with np.load(file, allow_pickle=False) as content:
            missing = [name for name in names if name not in content]
            arrays = {} if missing else {name: content[name] for name in names}
    except Exception as problem:  # damaged archives raise whatever zipfile and numpy meet first
        reason = " ".join(str(problem).split())
        raise UsageError(
            f"{file} cannot be read ({reason}); expected a .npz file of MedMNIST: get it anew"
        ) from problem
    if missing:
        raise UsageError(f"{file} holds no {missing[0]}; expected {', '.join(names)}")
    return arrays
