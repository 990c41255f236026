"""What people keep data in becomes the same tensors."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, IterableDataset, Subset, TensorDataset
from torchvision.transforms import v2

from study.api.data import Data, data_of
from study.api.items import items_of, named_parts
from study.errors import UsageError

INPUTS = torch.rand(30, 1, 4, 4, generator=torch.Generator().manual_seed(0))
LABELS = torch.arange(30) % 3
WHOLE = TensorDataset(INPUTS, LABELS)


class Stream(IterableDataset[Any]):
    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        return iter(zip(INPUTS, LABELS, strict=True))


class Pictures(Dataset[Any]):
    """Pillow images, as torchvision's data sets hold them, under a transform."""

    def __init__(self, transform: Any = None, sizes: tuple[int, ...] = (4,)) -> None:
        self.transform, self.sizes = transform, sizes

    def __len__(self) -> int:
        return len(LABELS)

    def __getitem__(self, index: int) -> tuple[Any, int]:
        side = self.sizes[index % len(self.sizes)]
        picture = Image.fromarray(np.full((side, side, 3), 8 * index, np.uint8))
        return picture if self.transform is None else self.transform(picture), int(LABELS[index])


class Module(pl.LightningDataModule):
    def train_dataloader(self) -> DataLoader[Any]:
        return DataLoader(WHOLE, 7, shuffle=True)

    def test_dataloader(self) -> DataLoader[Any]:
        return DataLoader(Subset(WHOLE, range(10)), 7)


@pytest.mark.parametrize(
    "data",
    [
        (INPUTS, LABELS),
        (INPUTS.numpy(), LABELS.numpy()),
        WHOLE,
        Subset(WHOLE, range(30)),
        DataLoader(WHOLE, 7, shuffle=True),
        Stream(),
        DataLoader(Stream(), 7),
        list(zip(INPUTS, LABELS.tolist(), strict=True)),
    ],
    ids=lambda data: type(data).__name__,
)
def test_every_kind_gives_the_same_items(data: Any) -> None:
    items = items_of(data, "train")
    assert torch.equal(items.inputs, INPUTS) and torch.equal(items.labels, LABELS)
    assert items.groups is None


def test_a_hugging_face_data_set() -> None:
    datasets = pytest.importorskip("datasets")
    pictures = [picture for picture, _ in Pictures()]
    features = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=["a", "b", "c"])})
    whole = datasets.Dataset.from_dict({"image": pictures, "label": LABELS.tolist()}, features=features)
    module = data_of(datasets.DatasetDict({"train": whole, "test": whole.select(range(10))}))
    module.load(0)
    assert module.class_names == ["a", "b", "c"] and module.input_shape == (3, 4, 4)
    assert len(module.splits["repair"]) == len(module.splits["test"]) == 5
    words = datasets.Dataset.from_dict({"input_ids": [[1, 2, 3]] * 30, "label": LABELS.tolist()})
    assert items_of(words, "train").inputs.dtype == torch.int64
    with pytest.raises(UsageError, match="columns input_ids: rename"):
        items_of(words.remove_columns("label"), "train")


def test_groups_are_the_third_of_an_item() -> None:
    items = items_of(TensorDataset(INPUTS, LABELS, LABELS % 2), "train")
    assert items.groups is not None and torch.equal(items.groups, LABELS % 2)


def test_the_loaders_of_a_data_module_are_its_splits() -> None:
    parts = named_parts(Module())
    assert sorted(parts) == ["test", "train"]
    module = data_of(Module())
    module.load(0)
    assert {name: len(split) for name, split in module.splits.items()} == {
        "train": 27,
        "validation": 3,
        "repair": 5,
        "test": 5,
    }


def test_a_picture_becomes_bytes_in_front_of_its_channels() -> None:
    items = items_of(Pictures(), "train")
    assert items.inputs.shape == (30, 3, 4, 4) and items.inputs.dtype == torch.uint8
    assert items.inputs[5].unique().tolist() == [40]


def test_images_that_were_normalised_get_their_range_back_and_the_model_the_normalisation() -> None:
    steps = [v2.ToImage(), v2.ToDtype(torch.float32, scale=True), v2.Normalize([0.5, 0.4, 0.3], [0.2, 0.3, 0.4])]
    module = data_of(Subset(Pictures(v2.Compose(steps)), range(30)))
    module.load(0)
    assert module.mean == pytest.approx([0.5, 0.4, 0.3]) and module.std == pytest.approx([0.2, 0.3, 0.4])
    inputs = torch.cat([split.tensors().inputs for split in module.splits.values()])
    values = inputs.mean((1, 2, 3)).sort().values
    assert torch.allclose(values, torch.arange(30) * 8 / 255, atol=1e-5)


def test_normalised_images_of_an_unknown_normalisation_are_refused() -> None:
    with pytest.raises(UsageError, match=r"train inputs go from -\S+ to \S+, and images lie in \[0, 1\]"):
        data_of((INPUTS * 2 - 1, LABELS))
    module = data_of(Data(train=(INPUTS * 2 - 1, LABELS), mean=[0.5], std=[0.5]))
    module.load(0)
    assert module.splits["train"].tensors().inputs.min() >= 0


def test_items_that_change_are_warned_of() -> None:
    flip = v2.Compose([v2.ToImage(), v2.ToDtype(torch.float32, scale=True), v2.GaussianNoise(sigma=0.1)])
    with pytest.warns(UserWarning, match="change from one access to the next"):
        items_of(Pictures(flip), "train")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        items_of(WHOLE, "train")


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (Pictures(sizes=(4, 5)), "inputs of several shapes"),
        (3, "is int: give"),
        ({"train": WHOLE, "dev": WHOLE}, "there is no split dev"),
        ({"test": WHOLE}, "no train items, only test"),
        (TensorDataset(INPUTS), r"no \(input, label\)"),
        ([], "holds no item"),
    ],
)
def test_what_cannot_be_used_gets_a_sentence(data: Any, sentence: str) -> None:
    with pytest.raises(UsageError, match=sentence):
        data_of(data)
