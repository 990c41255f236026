"""Recipes: what is `auto`, and what optimizer they make."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from pydantic import ValidationError
from torch import nn

from study.problem.augmentation import Augmentation
from study.problem.recipe import Recipe

USUAL: dict[str, Any] = {"epochs": 12, "optimizer": "sgd", "lr": 0.1, "batch_size": 64, "augmentation": "crop"}


def test_auto_is_filled_in_and_nothing_else() -> None:
    assert Recipe().resolved(USUAL) == Recipe(**USUAL, stop_at=None)
    assert Recipe().resolved(USUAL | {"stop_at": 0.9}).stop_at == 0.9
    chosen = Recipe(epochs=3, lr=0.5, momentum=0.5).resolved(USUAL)
    assert (chosen.epochs, chosen.lr, chosen.momentum, chosen.batch_size) == (3, 0.5, 0.5, 64)
    assert chosen.resolved({}) == chosen


def test_a_usual_value_that_is_missing_is_an_error() -> None:
    with pytest.raises(KeyError, match="batch_size"):
        Recipe().resolved({name: value for name, value in USUAL.items() if name != "batch_size"})


@pytest.mark.parametrize(
    "wrong",
    [{"epochs": -1}, {"optimizer": "adamw"}, {"lr": 0}, {"batch_size": 0}, {"momentum": 1.0}, {"weight_decay": -1}]
    + [{"augmentation": "mixup"}, {"colour": 1}],
)
def test_values_that_cannot_work_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Recipe(**wrong)


def one_step(recipe: Recipe, lr: float | None = None) -> list[float]:
    """The values of one parameter, 1 at first, after each of two steps along the gradient 2."""
    parameter = nn.Parameter(torch.ones(1))
    optimizer, values = recipe.make_optimizer([parameter], lr), []
    for _ in range(2):
        parameter.grad = torch.full((1,), 2.0)
        optimizer.step()
        values.append(parameter.item())
    return values


def test_sgd_has_momentum_and_decay() -> None:
    recipe = Recipe(optimizer="sgd", lr=0.1, momentum=0.5)
    assert one_step(recipe) == pytest.approx([0.8, 0.5])  # steps of 0.1 * 2 and 0.1 * (0.5 * 2 + 2)
    assert one_step(recipe, lr=0.05) == pytest.approx([0.9, 0.75])
    decayed = Recipe(optimizer="sgd", lr=0.1, momentum=0.0, weight_decay=1.0)
    assert one_step(decayed)[0] == pytest.approx(0.7)


def test_adam_takes_steps_of_its_rate() -> None:
    assert one_step(Recipe(optimizer="adam", lr=0.1)) == pytest.approx([0.9, 0.8], abs=1e-4)


def test_the_transform_is_that_of_the_name() -> None:
    assert Recipe(augmentation="none").transform is None
    assert Recipe(augmentation="crop_flip").transform == Augmentation(flip=True)
    assert Recipe(augmentation="crop").transform == Augmentation(flip=False)
