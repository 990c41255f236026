"""How a folder of images is laid out: which of the four parts it has, and which classes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from torchvision.datasets.folder import IMG_EXTENSIONS

from study.data.listing import Listing, hidden
from study.data.module import SPLITS
from study.errors import UsageError

PARTS = "train, validation, repair and test, of which train is a must"
HINT = (
    "set dataset.root=FOLDER (or STUDY_DATA) to a folder that holds a folder of images for each class, "
    f"or such folders in {PARTS}"
)


@dataclass(frozen=True)
class Layout:
    """The folders of a data set: each part's (in the order of `SPLITS`), and the class folders in each of them."""

    parts: dict[str, Path]
    classes: list[str]

    def listings(self) -> dict[str, list[tuple[Path, int]]]:
        """Every image file of each part with its label, sorted by class and name, folders in class folders included.

        Raises UsageError as `Listing.below` does.
        """
        files = Listing()
        return {part: list(self._labelled(folder, files)) for part, folder in self.parts.items()}

    def _labelled(self, folder: Path, files: Listing) -> Iterator[tuple[Path, int]]:
        for label, name in enumerate(self.classes):
            yield from ((path, label) for path in files.below(folder / name))


def layout_of(root: Path) -> Layout:
    """The layout of `root`, found without reading an image: parts, or class folders alone, which count as `train`.

    Raises UsageError where there is nothing to train on, a class has no image, or parts differ in their classes.
    """
    if not root.is_dir():
        raise UsageError(f"dataset=image_folder: {root} does not exist or is no folder; {HINT}")
    return layout_in(_parts(root), "dataset=image_folder", HINT)


def layout_in(parts: dict[str, Path], where: str, hint: str) -> Layout:
    """The layout of these folders, train at least, each by the part that it is; raises UsageError as `layout_of` does.

    where, hint: the setting that names the data, and what to do, for a refusal.
    """
    for folder in parts.values():
        if not folder.is_dir():
            raise UsageError(f"{where}: {folder} does not exist or is no folder; {hint}")
    classes = _folders(parts["train"])
    if not classes:
        raise UsageError(f"{where}: {parts['train']} holds no folders; {hint}")
    for folder in (parts["train"] / name for name in classes):
        if next(Listing().below(folder), None) is None:
            raise UsageError(f"{where}: the class folder {folder} holds no image ({', '.join(IMG_EXTENSIONS)}); {hint}")
    if len(classes) == 1:
        raise UsageError(f"{where}: {parts['train']} holds one class, {classes[0]}; it takes at least two")
    for folder in parts.values():
        _same_classes(folder, classes, parts["train"], where)
    return Layout(parts, classes)


def _parts(root: Path) -> dict[str, Path]:
    present = _folders(root)
    if not set(present) & set(SPLITS):
        return {"train": root}
    others = [name for name in present if name not in SPLITS]
    if others or "train" not in present:
        wrong = f"holds {others[0]} beside {min(set(present) & set(SPLITS))}" if others else "holds no folder train"
        raise UsageError(f"dataset=image_folder: {root} {wrong}; its parts are {PARTS}")
    return {name: root / name for name in SPLITS if name in present}


def _same_classes(folder: Path, classes: list[str], train: Path, where: str) -> None:
    here = _folders(folder)
    odd = sorted(set(here) ^ set(classes))
    if odd:
        has, lacks = (folder, train) if odd[0] in here else (train, folder)
        raise UsageError(f"{where}: {has} has the class folder {odd[0]}, {lacks} has not; make them the same")


def _folders(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.is_dir() and not hidden(path.name))
