from __future__ import annotations

import warnings

import pytest
import torch
from torch import Tensor

from study.data.split import Split
from study.parts.selection.references import references, standardised


def drawn(inputs: Tensor, labels: Tensor, failing: Tensor, seed: int = 0, **changes: object) -> Tensor:
    options: dict[str, object] = {"clusters": 5, "per_class": None, "choose": "random"}
    generator = torch.Generator().manual_seed(seed)
    return references(Split("repair", inputs, labels), failing, generator=generator, seed=seed, **(options | changes))  # type: ignore[arg-type]


@pytest.fixture
def inputs() -> Tensor:
    return torch.rand(100, 1, 4, 4, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def labels() -> Tensor:
    return torch.cat([torch.zeros(60), torch.ones(37), torch.full((3,), 2)]).long()


def test_each_class_gives_as_many_as_it_has_up_to_the_limit(inputs: Tensor, labels: Tensor) -> None:
    failing = torch.arange(0, 100, 2)
    found = drawn(inputs, labels, failing)
    assert torch.isin(found, failing).all() and len(found.unique()) == len(found)
    assert torch.bincount(labels[found]).tolist() == [5, 5, 1]


@pytest.mark.parametrize("choose", ["random", "medoid"])
def test_each_reference_comes_from_another_cluster(choose: str) -> None:
    groups = torch.arange(40) % 4
    inputs = groups.view(-1, 1, 1, 1) + torch.rand(40, 1, 2, 2, generator=torch.Generator().manual_seed(1)) / 10
    seen = set[int]()
    for seed in range(20):
        found = drawn(inputs, torch.zeros(40, dtype=torch.int64), torch.arange(40), seed, clusters=4, choose=choose)
        assert sorted(groups[found].tolist()) == [0, 1, 2, 3]
        seen |= set(found.tolist())
    assert len(seen) == 4 if choose == "medoid" else len(seen) > 20  # any member of a cluster may stand for it


def test_a_pixel_that_varies_widely_does_not_decide_the_clusters_alone() -> None:
    """One pixel tells two kinds of image apart, by little; the other takes every value up to 100."""
    kind = torch.arange(60) % 2
    inputs = torch.stack([kind / 100, 100 * torch.rand(60, generator=torch.Generator().manual_seed(2))], 1)
    for seed in range(5):
        found = drawn(inputs.view(60, 1, 1, 2), torch.zeros(60, dtype=torch.int64), torch.arange(60), seed, clusters=2)
        assert sorted(kind[found].tolist()) == [0, 1]


def test_the_medoid_is_nearest_to_the_mean() -> None:
    inputs = torch.tensor([0.0, 4.9, 5.0, 10.0]).view(4, 1, 1, 1)
    found = drawn(inputs, torch.zeros(4, dtype=torch.int64), torch.arange(4), clusters=1, choose="medoid")
    assert found.tolist() == [2]


def test_the_same_seed_gives_the_same_references(inputs: Tensor, labels: Tensor) -> None:
    failing = torch.arange(100)
    assert torch.equal(drawn(inputs, labels, failing), drawn(inputs, labels, failing))
    assert not torch.equal(drawn(inputs, labels, failing), drawn(inputs, labels, failing, seed=1))


def test_a_class_may_be_limited_in_what_is_looked_at(inputs: Tensor, labels: Tensor) -> None:
    found = drawn(inputs, labels, torch.arange(100), per_class=2)
    assert torch.bincount(labels[found]).tolist() == [2, 2, 2]


def test_identical_images_give_one_reference_and_no_warning() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = drawn(torch.ones(8, 1, 3, 3), torch.zeros(8, dtype=torch.int64), torch.arange(8))
    assert len(found) == 1


def test_columns_are_standardised_and_constant_ones_become_zero() -> None:
    values = torch.tensor([[0.1, 1.0], [0.1, 3.0], [0.1, 5.0]], dtype=torch.float64)
    found = standardised(values)
    assert not found[:, 0].any()
    torch.testing.assert_close(found[:, 1], torch.tensor([-1, 0, 1], dtype=torch.float64) * 1.5**0.5)
