"""Anyone's arrays: images or rows in NumPy's files."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
from numpy.typing import NDArray
from pydantic import Field

from study.data.contents import Contents, Items, contents_of
from study.data.labels import Column, combined, numbered
from study.data.module import Limit
from study.data.part_files import arrays_in, by_part, found
from study.data.parted import Parted
from study.data.scaling import Scale
from study.errors import UsageError
from study.runtime.settings import checked_call

SUFFIXES = (".npz",)
USUAL_RADIUS = 0.031
"""Of attacks on images in [0, 1]; the study's on CIFAR-10."""


class Arrays(Parted):
    """Arrays in a .npz file, or in a folder of .npy files.

    They are `inputs`, `labels` and, where items have one, `groups` (sensitive groups: [N], or [N, attributes], of which
    each combination that occurs is a group); or `train_inputs`, `train_labels`, `test_inputs` and so on for each split.
    Images are [N, H, W], [N, C, H, W] or [N, H, W, C], bytes or
    floats in [0, 1]; rows [N, columns]. Splits that are missing are drawn, see `drawing.completed`.
    name: what results call it, None for the name of the file; classes: names of the labels in the order of the
    network's outputs, None: the labels, sorted; mean, std: see `Parted`; epsilon: auto is 0.031 for images, none for
    rows.
    """

    name = "arrays"

    @checked_call
    def __init__(
        self,
        *,
        file: str | None = None,
        name: str | None = None,
        classes: list[str | int] | None = None,
        mean: Scale = "auto",
        std: Scale = "auto",
        limit: Limit = None,
        epsilon: Annotated[float, Field(gt=0)] | Literal["auto"] | None = "auto",
    ) -> None:
        super().__init__(limit=limit, epsilon=None, mean=mean, std=std)
        self.file = file
        self.title = name or (Path(file).stem if file else self.name)
        self.classes = None if classes is None else tuple(map(str, classes))
        self.radius = epsilon

    @property
    def contents(self) -> Contents:
        path = found(self.file, "dataset.file", SUFFIXES)
        files = [path] if path.is_file() else sorted(path.glob("*.npy"))
        return _contents(path, tuple(file.stat().st_mtime_ns for file in files), self.classes)

    @property
    def where(self) -> str:
        return f"dataset.file={self.file}"

    def check(self) -> None:
        """Raise UsageError if the arrays, or the settings beside them, cannot be used."""
        super().check()
        usual = USUAL_RADIUS if self.kind == "image" else None
        self.epsilon = usual if self.radius == "auto" else self.radius
        if self.kind == "image" and self.epsilon is not None and self.epsilon > 1:
            raise UsageError(
                f"dataset.epsilon={self.epsilon:g}: images lie in [0, 1], and so does the radius of attacks"
            )


@lru_cache(maxsize=2)
def _contents(path: Path, changed: tuple[int, ...], classes: tuple[str, ...] | None) -> Contents:
    """Kept, as every job of a sweep asks for it; `changed` says when the files were."""
    where = f"dataset.file={path}"
    parts = by_part(arrays_in(path, "dataset.file"), ("inputs", "labels"), ("groups",), where)
    labels, names = numbered({part: held["labels"] for part, held in parts.items()}, classes, f"{where}: labels")
    grouped = {part: held["groups"] for part, held in parts.items() if "groups" in held}
    groups, group_names = combined(_attributes(grouped, f"{where}: groups"))
    items = {
        part: Items(_tensor(held["inputs"], f"{where}: {part} inputs"), labels[part], groups.get(part))
        for part, held in parts.items()
    }
    kind: Literal["image", "table"] = "table" if items["train"].inputs.dim() == 2 else "image"
    return contents_of(items, where=where, kind=kind, classes=names, groups=group_names)


def _attributes(groups: dict[str, Column], where: str) -> dict[str, dict[str, Column]]:
    """The sensitive attributes one by one, each as the column [N] of every part."""
    widths = {part: array.shape[1] for part, array in groups.items() if array.ndim == 2}
    if not widths:
        return {where: groups} if groups else {}
    if len(widths) < len(groups) or len(set(widths.values())) > 1:
        shapes = ", ".join(f"{'x'.join(map(str, array.shape))} in {part}" for part, array in groups.items())
        raise UsageError(f"{where}: have the shapes {shapes}; there are as many attributes in every split")
    attributes = range(next(iter(widths.values())))
    return {f"{where}, column {k}": {part: array[:, k] for part, array in groups.items()} for k in attributes}


def _tensor(array: NDArray[Any], where: str) -> torch.Tensor:
    if array.dtype.kind not in "iufb":
        raise UsageError(f"{where} are {array.dtype}; they are numbers")
    return torch.from_numpy(array.astype(array.dtype.newbyteorder("="), copy=False))
