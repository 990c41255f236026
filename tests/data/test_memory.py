"""Tensors as a data set."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from study.data.contents import Items
from study.data.memory import InMemory
from study.errors import UsageError

LABELS = torch.arange(40) % 2


def numbers(*shape: int) -> Tensor:
    """Floats in [0, 1], the same each time."""
    return torch.rand(shape, generator=torch.Generator().manual_seed(0))


def loaded(inputs: Tensor, labels: Tensor = LABELS, groups: Tensor | None = None, **settings: Any) -> InMemory:
    module = InMemory({"train": Items(inputs, labels, groups)}, **settings)
    module.load(0)
    return module


def whole(module: InMemory) -> Tensor:
    """All inputs, in the order in which they were given."""
    inputs = torch.cat([split.tensors().inputs for split in module.splits.values()])
    return inputs[torch.cat(list(module.indices.values())).argsort()]


@pytest.mark.parametrize(
    ("inputs", "kind", "shape"),
    [
        (numbers(40, 8, 9), "image", (1, 8, 9)),
        (numbers(40, 3, 8, 9), "image", (3, 8, 9)),
        (numbers(40, 8, 9, 3), "image", (3, 8, 9)),
        (numbers(40, 8, 9, 1), "image", (1, 8, 9)),
        (numbers(40, 7, 8, 9), "image", (7, 8, 9)),
        (numbers(40, 5).double(), "table", (5,)),
        (torch.arange(200).reshape(40, 5), "tokens", (5,)),
    ],
)
def test_the_kind_and_the_form_follow_from_the_inputs(inputs: Tensor, kind: str, shape: tuple[int, ...]) -> None:
    module = loaded(inputs)
    assert (module.kind, module.input_shape) == (kind, shape)
    expected = inputs.permute(0, 3, 1, 2) if inputs.shape[-1] in (1, 3) and inputs.dim() == 4 else inputs
    assert torch.equal(whole(module), expected.reshape(40, *shape).to(whole(module).dtype))
    assert whole(module).dtype == (torch.int64 if kind == "tokens" else torch.float32)


def test_bytes_are_brought_into_the_unit_interval() -> None:
    pixels = (numbers(40, 1, 4, 4) * 255).to(torch.uint8)
    assert torch.equal(whole(loaded(pixels)), pixels.float() / 255)


def test_given_splits_are_kept_and_missing_ones_drawn() -> None:
    train, test = Items(numbers(40, 5), LABELS), Items(numbers(40, 5) + 1, LABELS)
    module = InMemory({"test": test, "train": train})
    module.load(3)
    assert {name: len(split) for name, split in module.splits.items()} == {
        "train": 36,
        "validation": 4,
        "repair": 20,
        "test": 20,
    }
    assert module.splits["train"].tensors().inputs.max() < 1 < module.splits["repair"].tensors().inputs.max()
    assert not module.random_splits and loaded(numbers(40, 5)).random_splits


def test_what_is_known_of_the_data_set() -> None:
    module = loaded(
        numbers(40, 5), class_names=["no", "yes", "maybe"], group_names=["a", "b"], groups=LABELS, epsilon=0.5
    )
    assert (module.class_names, module.group_names) == (["no", "yes", "maybe"], ["a", "b"])
    assert module.splits["test"].groups is not None
    assert module.threat is not None and module.threat.radius == 0.5
    assert module.threat.bounds == pytest.approx((numbers(40, 5).min().item(), numbers(40, 5).max().item()))
    assert loaded(numbers(40, 5)).threat is None
    assert loaded(torch.arange(200).reshape(40, 5), epsilon=0.5).threat is None


def test_a_table_is_normalised_by_its_train_split_alone() -> None:
    rows = numbers(40, 3) * torch.tensor([1.0, 10.0, 0.0]) + 5
    module = loaded(rows, mean="auto", std="auto")
    train = module.splits["train"].tensors().inputs
    assert module.mean == pytest.approx(train.mean(0).tolist())
    assert module.std == pytest.approx([*train.std(0, correction=0)[:2].tolist(), 1.0])
    assert torch.equal(whole(module), rows)
    first = module.mean
    module.load(1)
    assert module.mean != first
    assert (loaded(rows).mean, loaded(numbers(40, 1, 8, 8), mean="auto", std="auto").mean) == (None, None)


def test_the_fingerprint_follows_items_and_presentation_and_not_the_seed() -> None:
    reference = loaded(numbers(40, 5), mean="auto", std="auto")
    fingerprint = reference.fingerprint
    reference.load(1)
    assert reference.fingerprint == fingerprint
    other = numbers(40, 5)
    other[3, 2] += 0.01
    assert loaded(other, mean="auto", std="auto").fingerprint != fingerprint
    assert loaded(numbers(40, 5), 1 - LABELS, mean="auto", std="auto").fingerprint != fingerprint
    assert loaded(numbers(40, 5)).fingerprint != fingerprint


@pytest.mark.parametrize(
    ("parts", "settings", "sentence"),
    [
        ({"test": Items(numbers(40, 5), LABELS)}, {}, "no train items"),
        ({"train": Items(numbers(40, 5), LABELS), "dev": Items(numbers(40, 5), LABELS)}, {}, "no split dev"),
        ({"train": Items(numbers(40), LABELS)}, {}, "shape 40 are neither images"),
        ({"train": Items(numbers(40, 5), LABELS[:39])}, {}, "40 inputs and labels of shape 39"),
        ({"train": Items(numbers(40, 5), LABELS.view(40, 1))}, {}, "labels of shape 40x1"),
        ({"train": Items(numbers(0, 5), LABELS[:0])}, {}, "train holds no item"),
        ({"train": Items(numbers(40, 5) / 0, LABELS)}, {}, "no finite numbers"),
        ({"train": Items(numbers(40, 8, 8) * 16, LABELS)}, {}, r"go from .* images lie in \[0, 1\]"),
        ({"train": Items(torch.ones(40, 3, 8, 8, dtype=torch.int64), LABELS)}, {"kind": "image"}, "are int64"),
        ({"train": Items(numbers(40, 5), LABELS)}, {"kind": "tokens"}, "no token ids"),
        ({"train": Items(numbers(40, 5), LABELS)}, {"kind": "image"}, r"no image inputs \[N, C, H, W\]"),
        ({"train": Items(numbers(40, 5), LABELS * 0)}, {}, "labels are all the same"),
        ({"train": Items(numbers(40, 5), LABELS - 1)}, {}, "labels go from -1 to 0"),
        ({"train": Items(numbers(40, 5), LABELS * 2)}, {"class_names": ["a", "b"]}, "go from 0 to 2"),
        ({"train": Items(numbers(40, 5), LABELS, LABELS * 0)}, {}, "groups are all the same"),
        (
            {"train": Items(numbers(40, 5), LABELS, LABELS), "test": Items(numbers(40, 5), LABELS)},
            {},
            "train has groups",
        ),
        (
            {"train": Items(numbers(40, 5), LABELS), "test": Items(numbers(40, 6), LABELS)},
            {},
            "5 float32, test inputs 6",
        ),
        ({"train": Items(numbers(40, 5), LABELS)}, {"mean": [0.0], "std": [1.0]}, "each of the 5 column"),
        ({"train": Items(numbers(40, 5), LABELS)}, {"mean": [0.0] * 5}, "give both or neither"),
        ({"train": Items(numbers(40, 5), LABELS)}, {"mean": [0.0] * 5, "std": [0.0] * 5}, "greater than 0"),
    ],
)
def test_unusable_items_are_refused_in_a_sentence(
    parts: dict[str, Items], settings: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(UsageError, match=sentence) as refusal:
        InMemory(parts, **settings)
    assert "\n" not in str(refusal.value)


def test_splits_that_are_not_to_be_drawn_are_empty() -> None:
    module = InMemory({"test": Items(numbers(40, 5), LABELS), "repair": Items(numbers(9, 5), LABELS[:9])}, drawn=False)
    module.load(0)
    assert {name: len(split) for name, split in module.splits.items()} == {
        "train": 0,
        "validation": 0,
        "repair": 9,
        "test": 40,
    }
    assert torch.equal(module.splits["test"].tensors().inputs, numbers(40, 5))
    with pytest.raises(UsageError, match="there are no test items, only train; test is a must"):
        InMemory({"train": Items(numbers(40, 5), LABELS)}, drawn=False)


def test_images_may_have_other_bounds() -> None:
    assert loaded(numbers(40, 8, 8) * 4 - 2, bounds=(-2.0, 2.0), epsilon=0.1).threat.bounds == (-2.0, 2.0)  # type: ignore[union-attr]
