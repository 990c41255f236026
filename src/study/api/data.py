"""What a user calls data, as four splits: given or drawn."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import torch
from pydantic import Field
from torch import Tensor

from study.api.arguments import checked, checked_settings
from study.api.items import class_names_of, items_of, named_parts, normalisation_of
from study.config.complaints import shown
from study.data.contents import Items
from study.data.image_folder import ImageFolder
from study.data.memory import InMemory
from study.data.module import SPLITS, DataModule, Kind
from study.errors import UsageError
from study.problem.recipe import Recipe

Radius = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Finite = Annotated[float, Field(allow_inf_nan=False)]
Bounds = tuple[Finite, Finite]


@dataclass(frozen=True, kw_only=True)
class Data:
    """Data with what a bare data set does not say. Splits that are missing are drawn as `dataset=image_folder` does:
    validation is a tenth of train; repair or test alone is halved into both; without either each is a tenth of train.

    train, validation, repair, test: each anything that `study.repair` takes as data; train is a must, though to
    `study.evaluate`, which compares on test, test alone will do: nothing is drawn then.
    classes: names in the order of the model's outputs, None: as the data set states them, or their numbers.
    kind: None follows from the inputs: floats and bytes with three axes or more are images, two axes of floats a table,
    of integers tokens.
    mean, std: one value per channel: how the model wants its inputs normalised. Images lie in [0, 1] then; given ones
    that do not are taken to be normalised already. None: found in the data set's own transform, else inputs are used as
    they are.
    epsilon: radius of attacks in units of the inputs, None: robustness is not measured.
    bounds: least and largest value of an input, None: [0, 1] for images, the range of the items for a table.
    recipe: how the model was trained (`optimizer`, `lr`, `batch_size`, `augmentation`, `epochs`), which approaches that
    train go by; what is left out is the usual.

    Raises UsageError for a value that is wrong.
    """

    train: Any = None
    validation: Any = None
    repair: Any = None
    test: Any = None
    classes: Sequence[str] | None = None
    kind: Kind | None = None
    mean: Sequence[float] | None = None
    std: Sequence[float] | None = None
    epsilon: float | None = None
    bounds: tuple[float, float] | None = None
    recipe: Mapping[str, Any] | None = None

    def __post_init__(self) -> None:
        checked("kind", self.kind, Kind | None)
        checked("epsilon", self.epsilon, Radius | None)
        if self.bounds is not None and (ends := checked("bounds", self.bounds, Bounds))[0] >= ends[1]:
            raise UsageError(f"bounds={shown(self.bounds)}: should be the least and the largest value of an input")
        for name in ("mean", "std"):
            if (values := getattr(self, name)) is not None:
                checked(name, list(values) if isinstance(values, Iterable) else values, list[Finite])
        if (self.mean is None) != (self.std is None):
            raise UsageError("data: give both mean and std, or neither")
        if self.recipe is not None:
            checked_settings("recipe", self.recipe, Recipe)
        if isinstance(self.classes, str):
            raise UsageError(f"classes={self.classes}: should be a list of names")

    @property
    def parts(self) -> dict[str, Any]:
        """The splits that are given."""
        return {name: getattr(self, name) for name in SPLITS if getattr(self, name) is not None}


def data_of(data: Any, *, whole: bool = True) -> DataModule:
    """The data set of what a user brings.

    Args:
        data: a `Data`; a data module of this package; a path to an image folder; a tuple (inputs, labels), a torch
            Dataset, DataLoader or Hugging Face Dataset; a mapping of such things by split (a DatasetDict); a
            LightningDataModule.
        whole: all four splits are needed; False: test alone will do, where train is missing.

    Raises:
        UsageError: It cannot be used.
    """
    if isinstance(data, DataModule):
        return data
    if isinstance(data, (str, Path)):
        return ImageFolder(root=str(data))
    given = data if isinstance(data, Data) else Data(**_known(named_parts(data)))
    drawn = whole or "train" in given.parts
    if (must := "train" if drawn else "test") not in given.parts:
        only = f", only {', '.join(given.parts)}" if given.parts else ""
        raise UsageError(f"data: there are no {must} items{only}; {must} is a must")
    first = next(iter(given.parts.values()))
    scale = _scale(given, first)
    parts = {name: items_of(part, name) for name, part in given.parts.items()}
    return InMemory(
        {name: _natural(items, scale) for name, items in parts.items()},
        kind=given.kind,
        class_names=class_names_of(first) if given.classes is None else given.classes,
        mean=None if scale is None else scale[0],
        std=None if scale is None else scale[1],
        epsilon=given.epsilon,
        bounds=given.bounds,
        drawn=drawn,
        recipe=given.recipe,
    )


def with_all_classes(data: DataModule, outputs: int) -> DataModule:
    """The data set with a class for each of the model's outputs, as its labels need not show them all.

    Raises UsageError where the model has another number of outputs than the data set has classes.
    """
    known = data.num_classes
    if known == outputs:
        return data
    if known < outputs and isinstance(data, InMemory) and data.class_names == [str(n) for n in range(known)]:
        data.name_classes([str(number) for number in range(outputs)])
        return data
    raise UsageError(f"the model gives {outputs} outputs per input, and the data has {known} classes")


def _known(parts: Mapping[str, Any]) -> dict[str, Any]:
    """Splits by name, those of other names refused."""
    if odd := [name for name in parts if name not in SPLITS]:
        raise UsageError(f"data: there is no split {odd[0]}; the splits are {', '.join(SPLITS)}")
    return dict(parts)


def _scale(data: Data, part: Any) -> tuple[list[float], list[float]] | None:
    """Mean and deviation, as they are given or as the transform of a part of the data says."""
    if data.mean is not None and data.std is not None:
        return list(data.mean), list(data.std)
    return normalisation_of(part)


def _natural(items: Items, scale: tuple[list[float], list[float]] | None) -> Items:
    """Items whose images were normalised already as they were before."""
    inputs = items.inputs
    if scale is None or inputs.dim() != 4 or not inputs.is_floating_point():
        return items
    low, high = (float(value) for value in inputs.aminmax())
    if low >= 0 and high <= 1:
        return items
    mean, std = (_per_channel(values) for values in scale)
    return items._replace(inputs=(inputs * std + mean).clamp(0, 1))


def _per_channel(values: list[float]) -> Tensor:
    return torch.tensor(values).view(1, -1, 1, 1)
