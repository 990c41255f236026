"""Pictures and labels of every type become the same numbers, or are refused in a sentence."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from study.api.data import data_of
from study.api.items import items_of
from study.errors import UsageError

INPUTS = torch.rand(30, 5, generator=torch.Generator().manual_seed(0))
LABELS = torch.arange(30) % 3


def test_a_picture_of_sixteen_bits_is_scaled_to_eight() -> None:
    pictures = [Image.fromarray(np.full((4, 4), 2000 * index, np.uint16)) for index in range(30)]
    assert pictures[0].mode == "I;16"
    inputs = items_of(list(zip(pictures, LABELS.tolist(), strict=True)), "train").inputs
    assert inputs.shape == (30, 1, 4, 4) and inputs.dtype == torch.uint8
    assert inputs[:, 0, 0, 0].tolist() == [2000 * index // 256 for index in range(30)]


def test_a_picture_of_floating_point_pixels_is_refused() -> None:
    picture = Image.fromarray(np.full((4, 4), 0.5, np.float32))
    with pytest.raises(UsageError, match=r"data\['train'\]: a picture of mode F .* floating-point .* unknown range"):
        items_of([(picture, 0)] * 30, "train")


def test_grey_and_colour_mixed_are_to_be_converted_and_other_sizes_resized() -> None:
    mixed = [(Image.new(mode, (4, 4)), 0) for mode in ("L", "RGB")]
    with pytest.raises(UsageError, match=r"\(1x4x4 and 3x4x4\): convert every picture to RGB"):
        items_of(mixed, "train")
    sizes = [(Image.new("L", size), 0) for size in ((4, 4), (4, 5))]
    with pytest.raises(UsageError, match=r"\(1x4x4 and 1x5x4\): resize them to one"):
        items_of(sizes, "train")


@pytest.mark.parametrize(
    "labels",
    [
        LABELS.float(),
        LABELS.tolist(),
        tuple(LABELS.tolist()),
        LABELS.double().numpy(),
        LABELS.numpy().astype(">i4"),
        LABELS.flip(0).numpy()[::-1],
    ],
    ids=["float", "list", "tuple", "double", "big-endian", "reversed"],
)
def test_whole_numbers_of_any_type_are_labels(labels: Any) -> None:
    module = data_of((INPUTS, labels))
    module.load(0)
    found = torch.cat([split.labels for split in module.splits.values()])
    assert found.dtype == torch.int64 and found.bincount().tolist() == [10, 10, 10]
    items = [(row, label) for row, label in zip(INPUTS, labels, strict=True)]
    assert data_of(items).num_classes == 3


def one_by_one(labels: Any) -> list[Any]:
    return list(zip(INPUTS, labels, strict=True))


WORDS = ["cat", "dog", "cat"] * 10
FRACTIONS = LABELS + 0.7
ONE_HOT = torch.eye(3)[LABELS]


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        ((INPUTS, FRACTIONS), r"train labels are no whole numbers \(0\.7 is among them\); they are numbered from 0"),
        ((INPUTS, FRACTIONS.numpy()), "labels are no whole numbers"),
        (one_by_one(FRACTIONS.tolist()), "labels are no whole numbers"),
        ((INPUTS, LABELS / 0), "labels are no whole numbers"),
        ((INPUTS, LABELS, FRACTIONS), "groups are no whole numbers"),
        ((INPUTS, np.array(WORDS)), r"labels are no numbers \('cat' is among them\); number them from 0"),
        ((INPUTS, ["0", "1", "1"] * 10), r"labels are no numbers \('0' is among them\)"),
        (one_by_one(WORDS), r"labels are no numbers \('cat' is among them\)"),
        (one_by_one([None] * 30), r"labels are no numbers \(None is among them\)"),
        ((INPUTS, ONE_HOT), r"labels of shape 30x3; .*labels\.argmax\(1\)"),
        (one_by_one(ONE_HOT), "labels hold 3 values for an input; it takes one number"),
        ((np.array(WORDS), LABELS), r"inputs are no numbers \('cat' is among them\); they are tensors or arrays"),
        ([("text", 0)] * 30, "an input is str, not a tensor of numbers or a picture"),
    ],
)
def test_other_labels_and_inputs_are_refused(data: Any, sentence: str) -> None:
    with pytest.raises(UsageError, match=sentence) as refusal:
        data_of(data)
    assert "\n" not in str(refusal.value)
