"""From what people keep their data in to tensors: tuples, torch data sets, loaders, Hugging Face data sets."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset

from study.api.values import NAMING, column_of, number_of, tensor_of
from study.data.contents import Items
from study.errors import UsageError
from study.runtime.progress import Progress

INPUT_COLUMNS = ("image", "img", "pixel_values", "input_ids", "inputs", "input", "x", "features")
LABEL_COLUMNS = ("label", "labels", "fine_label", "target", "y", "class")
GROUP_COLUMNS = ("group", "groups")
"""Names by which the columns of a Hugging Face data set are known, in this order."""
NUMBERS = ("labels", "groups")
"""What stands beside the input in an item."""


def items_of(data: Any, name: str) -> Items:
    """The items of one split, in memory.

    Args:
        data: a tuple (inputs, labels) or (inputs, labels, groups) of tensors or arrays, labels and groups also as
            lists; a map-style or iterable torch Dataset, or a DataLoader, whose items are such tuples; a Hugging Face
            Dataset.
        name: of the split, for a refusal.

    Raises:
        UsageError: It is none of these, or its items cannot be stacked.
    """
    if isinstance(data, Items):
        return data
    if columns := _columns(data):
        return Items(*(column_of(values, f"data[{name!r}]: {what}", remedy) for what, values, remedy in columns))
    if isinstance(data, DataLoader):
        return _gathered(_of_loader(data, name), _length(data.dataset), name)
    if hasattr(data, "features") and hasattr(data, "column_names"):
        return _gathered(_of_columns(data, name), _length(data), name)
    if isinstance(data, IterableDataset):
        return _gathered(data, None, name)
    if hasattr(data, "__getitem__") and hasattr(data, "__len__"):
        _warn_of_chance(data, name)
        return _gathered((data[index] for index in range(len(data))), len(data), name)
    raise UsageError(
        f"data[{name!r}] is {type(data).__name__}: give (inputs, labels), a torch Dataset, a DataLoader or a Hugging "
        "Face Dataset"
    )


def normalisation_of(data: Any) -> tuple[list[float], list[float]] | None:
    """Mean and deviation by which a data set's transform normalises last, None where none is found."""
    while True:
        transform = getattr(data, "transform", None)
        steps = getattr(transform, "transforms", [transform])
        last: Any = steps[-1] if steps else None
        if hasattr(last, "mean") and hasattr(last, "std"):
            return torch.as_tensor(last.mean).flatten().tolist(), torch.as_tensor(last.std).flatten().tolist()
        if not hasattr(data, "dataset"):  # a Subset or a DataLoader around the data set
            return None
        data = data.dataset


def class_names_of(data: Any) -> list[str] | None:
    """Names of the classes as a torchvision or Hugging Face data set states them, None where it does not."""
    if hasattr(data, "features") and hasattr(data, "column_names"):
        column = _column(data.column_names, LABEL_COLUMNS)
        names = getattr(data.features[column], "names", None) if column else None
    else:
        names = getattr(data, "classes", None)
    if isinstance(names, (list, tuple)):
        return [str(name) for name in names]
    return class_names_of(data.dataset) if hasattr(data, "dataset") else None


def _columns(data: Any) -> list[tuple[str, Any, str]] | None:
    """Inputs, labels and perhaps groups where they are given as such, None where `data` is something else.

    Each with what it is called, and what to do where it holds no numbers.
    """
    if not isinstance(data, (tuple, list)) or len(data) not in (2, 3) or not hasattr(data[0], "shape"):
        return None
    if not all(hasattr(part, "shape") or isinstance(part, (list, tuple)) for part in data):
        return None
    remedies = ("; they are tensors or arrays", NAMING, NAMING)
    return list(zip(("inputs", *NUMBERS), data, remedies, strict=False))


def _gathered(items: Iterable[Any], count: int | None, name: str) -> Items:
    """Stack items one by one."""
    inputs: list[Tensor] = []
    others: list[tuple[float, ...]] = []
    where = f"data[{name!r}]"
    with Progress(f"read the {name} items", count) as progress:
        for item in items:
            if not isinstance(item, (tuple, list)) or len(item) not in (2, 3):
                raise UsageError(f"{where}: its items are no (input, label) or (input, label, group) tuples")
            inputs.append(tensor_of(item[0], where))
            named = zip(NUMBERS, item[1:], strict=False)
            others.append(tuple(number_of(value, f"{where}: {what}") for what, value in named))
            progress.advance()
    if not inputs:
        raise UsageError(f"{where} holds no item")
    _check_shapes({tuple(one.shape) for one in inputs}, where)
    return Items(torch.stack(inputs), *(torch.tensor(column) for column in zip(*others, strict=True)))


def _check_shapes(shapes: set[tuple[int, ...]], where: str) -> None:
    """Raise UsageError where inputs are of several shapes."""
    if len(shapes) < 2:
        return
    sizes = " and ".join("x".join(map(str, shape)) for shape in sorted(shapes)[:3])
    only_channels = all(len(shape) == 3 for shape in shapes) and len({shape[1:] for shape in shapes}) == 1
    remedy = 'convert every picture to RGB (image.convert("RGB"))' if only_channels else "resize them to one"
    raise UsageError(f"{where}: inputs of several shapes ({sizes}): {remedy} in its transform")


def _of_loader(loader: DataLoader[Any], name: str) -> Iterator[tuple[Any, ...]]:
    """The items of a loader in the order of its data set, batched as it batches them where it shuffles not."""
    if isinstance(loader.dataset, IterableDataset):
        batches: Iterable[Any] = loader
    else:
        _warn_of_chance(loader.dataset, name)
        batches = DataLoader(loader.dataset, loader.batch_size or 256, collate_fn=loader.collate_fn)
    for batch in batches:
        if not isinstance(batch, (tuple, list)):
            raise UsageError(f"data[{name!r}]: its loader gives no (inputs, labels) batches")
        yield from zip(*batch, strict=True)


def _of_columns(data: Any, name: str) -> Iterator[tuple[Any, ...]]:
    """The items of a Hugging Face data set."""
    known: Sequence[str] = data.column_names
    columns = [_column(known, names) for names in (INPUT_COLUMNS, LABEL_COLUMNS, GROUP_COLUMNS)]
    if columns[0] is None or columns[1] is None:
        raise UsageError(
            f"data[{name!r}] has the columns {', '.join(known)}: rename them to image (or input_ids, inputs) and label"
        )
    used = [column for column in columns if column is not None]
    for row in data.select_columns(used):
        yield tuple(row[column] for column in used)


def _column(known: Sequence[str], names: Sequence[str]) -> str | None:
    return next((name for name in names if name in known), None)


def _length(data: Any) -> int | None:
    return len(data) if hasattr(data, "__len__") else None


def _warn_of_chance(data: Any, name: str) -> None:
    """Say so where an item is another one each time: its transform draws, and only one draw is ever used."""
    if not len(data):
        return
    first, second = (data[0] for _ in range(2))
    if not isinstance(first, (tuple, list)):
        return
    if not torch.equal(*(tensor_of(item[0], f"data[{name!r}]") for item in (first, second))):
        warnings.warn(
            f"data[{name!r}]: its items change from one access to the next (a random transform?); each is read once: "
            "give the data set without augmentation",
            stacklevel=5,
        )


def named_parts(data: Any) -> dict[str, Any]:
    """The splits in what holds several: a mapping, or a LightningDataModule; one data set alone is `train`."""
    if hasattr(data, "train_dataloader") and hasattr(data, "setup"):
        return _of_module(data)
    if isinstance(data, Mapping):
        names = {"val": "validation", "valid": "validation", "eval": "validation"}
        return {names.get(str(name), str(name)): part for name, part in data.items()}
    return {"train": data}


def _of_module(module: Any) -> dict[str, Any]:
    """The loaders of a LightningDataModule."""
    module.prepare_data()
    for stage in ("fit", "test"):
        module.setup(stage)
    hooks = {"train": "train_dataloader", "validation": "val_dataloader", "test": "test_dataloader"}
    return {name: getattr(module, hook)() for name, hook in hooks.items() if _has_own(module, hook)}


def _has_own(module: Any, hook: str) -> bool:
    """Whether a user's class defines the hook, not Lightning itself."""
    owner = next(cls for cls in type(module).__mro__ if hook in vars(cls))
    return not owner.__module__.startswith(("pytorch_lightning.", "lightning."))
