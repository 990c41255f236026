"""Shifting weights: the closed form against the loop it stands for, and hand-computed cases."""

from __future__ import annotations

from typing import Any, get_args

import pytest
import torch
from torch import Tensor, nn

from study.parts.training.weight_shift import Strategy, divided, flat_weights, shift_for, write_weights
from study.runtime.randomness import stream


def one_by_one(weights: Tensor, others: Tensor, right: Tensor, strategy: Strategy, eta: float) -> Tensor:
    """The paper's loop over the failing inputs."""
    for column in right.T:
        if column.all() or not column.any():
            continue
        share = column.double().mean()
        towards = share * (others[column].mean(0) - weights)
        away = (1 - share) * (others[~column].mean(0) - weights)
        change = {"both": towards - away, "correct": towards, "incorrect": -away}[strategy]
        weights = weights + eta * change
    return weights


def drawn(networks: int, inputs: int, size: int = 6) -> tuple[Tensor, Tensor, Tensor]:
    generator = stream(3, "weights")
    weights, others = torch.randn(networks + 1, size, generator=generator, dtype=torch.float64).split([1, networks])
    return weights[0], others, torch.rand(networks, inputs, generator=generator) < 0.5


@pytest.mark.parametrize("strategy", get_args(Strategy))
@pytest.mark.parametrize("eta", [0.3, -0.3])
@pytest.mark.parametrize("inputs", [0, 1, 7])
def test_is_the_loop_over_the_inputs(strategy: Strategy, eta: float, inputs: int) -> None:
    weights, others, right = drawn(5, inputs)
    right = torch.cat([right, torch.ones(5, min(inputs, 2), dtype=torch.bool)], dim=1)  # these move nothing
    expected = one_by_one(weights, others, right, strategy, eta)
    shifted = shift_for(right, strategy, eta).of(weights, others)
    torch.testing.assert_close(shifted, expected, atol=1e-10, rtol=0)
    assert torch.equal(shifted, weights) == (inputs == 0)


@pytest.mark.parametrize("strategy", get_args(Strategy))
@pytest.mark.parametrize("agreed", [True, False])
def test_an_input_on_which_all_agree_changes_nothing(strategy: Strategy, agreed: bool) -> None:
    weights, others, _ = drawn(4, 0)
    right = torch.full((4, 1), agreed)
    assert not divided(right).any()
    assert shift_for(right, strategy, 0.5).of(weights, others).equal(weights)


def test_halves_that_do_not_differ_cancel() -> None:
    weights, _, _ = drawn(1, 0)
    right = torch.arange(20)[:, None] < 10
    assert shift_for(right, "both", 0.7).of(weights, weights.expand(20, -1)).allclose(weights, atol=1e-12, rtol=0)


def test_half_of_them_right_draws_half_of_the_way() -> None:
    weights, others, _ = drawn(4, 0)
    right = torch.tensor([[True], [False], [True], [False]])
    halfway = (weights + others[[0, 2]].mean(0)) / 2
    torch.testing.assert_close(shift_for(right, "correct", 1.0).of(weights, others), halfway)


@pytest.mark.parametrize("eta", [0.2, -0.2])
def test_moves_towards_the_right_ones_and_away_from_the_wrong_ones(eta: float) -> None:
    weights, others, _ = drawn(4, 0)
    right = torch.tensor([[True], [False], [True], [True]])
    strategies: list[tuple[Any, Tensor, int]] = [
        ("correct", others[[0, 2, 3]].mean(0), 1),
        ("incorrect", others[1], -1),
    ]
    for strategy, target, nearer in strategies:
        before = (target - weights).norm()
        after = (target - shift_for(right, strategy, eta).of(weights, others)).norm()
        assert (before - after).sign() == nearer * torch.tensor(eta).sign()


def test_weights_are_read_and_written_as_one_vector_whatever_their_layout() -> None:
    convolution, linear = nn.Conv2d(3, 4, 2), nn.Linear(4, 2)
    model = nn.Sequential(convolution, nn.BatchNorm2d(4), nn.Flatten(), linear).to(memory_format=torch.channels_last)
    linear.bias.requires_grad_(False)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    weights = flat_weights(model)
    assert len(weights) == 3 * 4 * 4 + 4 + 8 + 8
    write_weights(model, 2 * weights)
    for name, tensor in model.state_dict().items():
        changed = name in dict(model.named_parameters()) and name != "3.bias"
        assert tensor.equal(2 * before[name] if changed else before[name]), name
    assert convolution.weight.is_contiguous(memory_format=torch.channels_last)
