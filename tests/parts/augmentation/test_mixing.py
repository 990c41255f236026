import pytest
import torch
from torch import Tensor

from study.parts.augmentation.augmix import (
    OPERATORS,
    REPLACE,
    apply_chains,
    draw_chains,
    draw_mix,
    mix,
    to_float,
    to_uint8,
)
from study.parts.augmentation.mixing import Mixing
from tests.problems import digits_splits


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def digits(count: int = 32) -> Tensor:
    return digits_splits()["train"].tensors().inputs[:count]


def test_a_view_is_augmix_of_the_image() -> None:
    images, random = digits(), generator(3)
    sources = to_uint8(images).repeat(2, 1, 1, 1)
    chains = to_float(apply_chains(sources, draw_chains(64, random, 5, (1, 2)))).view(2, *images.shape)
    expected = mix(images, chains, *draw_mix(32, 2, random))
    assert torch.equal(Mixing(width=2, depth=2, severity=5).view(images, generator(3)), expected)


def test_chains_that_only_replace_mix_the_image_with_its_replacement_alone() -> None:
    images, others = digits(), digits(64)[32:]
    views = Mixing(operators=(REPLACE,)).view(images, generator(), replacement=others)
    share = (views - images).flatten(1).norm(dim=1) / (others - images).flatten(1).norm(dim=1)
    expected = images + share[:, None, None, None] * (others - images)
    assert (views - expected).abs().max() < 1 / 255
    assert share.min() > 0 and share.max() < 1


def test_replacement_starts_some_of_the_chains() -> None:
    black, white = torch.zeros(2000, 1, 4, 4), torch.ones(2000, 1, 4, 4)
    operators = ("posterize",) * 9 + (REPLACE,)
    views = Mixing(width=3, operators=operators).view(black, generator(), replacement=white)
    chain_is_replaced = sum(1 - 0.9**depth for depth in (1, 2, 3)) / 3
    assert (views.flatten(1).amax(dim=1) > 0).float().mean().item() == pytest.approx(
        1 - (1 - chain_is_replaced) ** 3, abs=0.04
    )
    assert Mixing().operators == OPERATORS


def test_several_views_are_those_of_the_images_one_after_the_other() -> None:
    images, others = digits(), digits(64)[32:]
    mixing = Mixing(operators=(*OPERATORS, REPLACE))
    twice = mixing.view(images.repeat(2, 1, 1, 1), generator(3), others.repeat(2, 1, 1, 1))
    assert torch.equal(mixing.view(images, generator(3), others, count=2), twice)
