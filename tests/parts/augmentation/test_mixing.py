import math

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

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
from study.parts.augmentation.mixing import Mixing, consistency_loss, cosine_sgd
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


def test_equal_views_cost_cross_entropy_alone() -> None:
    model, images = nn.Sequential(nn.Flatten(), nn.Linear(64, 10)), digits()
    labels = digits_splits()["train"].labels[:32]
    loss = consistency_loss(model, images, images.repeat(2, 1, 1, 1), labels, 12.0)
    torch.testing.assert_close(loss, functional.cross_entropy(model(images), labels))


def test_the_consistency_term_is_weighted_and_at_most_log_3() -> None:
    model = nn.Flatten()  # the images are the logits
    clean, first, second = (1000 * torch.eye(3)[[index]] for index in range(3))
    labels = torch.tensor([0])
    loss = consistency_loss(model, clean, torch.cat([first, second]), labels, 12.0)
    assert loss.item() == pytest.approx(12 * math.log(3), rel=1e-5)


def test_views_of_an_image_are_compared_with_each_other_not_with_another_image() -> None:
    model, images = nn.Sequential(nn.Flatten(), nn.Linear(64, 10)), digits()
    labels = digits_splits()["train"].labels[:32]
    aligned = consistency_loss(model, images, torch.cat([images, images]), labels, 12.0)
    shifted = consistency_loss(model, images, torch.cat([images, images.roll(1, 0)]), labels, 12.0)
    assert shifted > aligned + 0.01


def test_the_rate_falls_by_cosine_to_a_millionth() -> None:
    weight = nn.Parameter(torch.zeros(1))
    parts = cosine_sgd([weight], 0.01, 5e-4, steps=10)
    optimizer, schedule = parts["optimizer"], parts["lr_scheduler"]["scheduler"]
    rates = []
    for _ in range(11):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    assert [rates[0], rates[5], rates[10]] == pytest.approx([0.01, (0.01 + 1e-6) / 2, 1e-6])
