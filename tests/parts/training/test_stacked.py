"""Several networks trained at the same time."""

from __future__ import annotations

import copy

import torch
from torch import nn

from study.parts.training.stacked import OneByOne, Stacked, losses_of, pays_off
from study.parts.training.weight_shift import flat_weights
from study.runtime.randomness import stream
from tests.networks import Plain
from tests.problems import build, digits_problem


def test_the_loss_of_each_is_that_of_its_own_weights_on_its_own_batch() -> None:
    models, inputs = [build() for _ in range(3)], torch.rand(3, 5, 1, 8, 8, generator=stream(0, "inputs"))
    labels = torch.arange(15).view(3, 5) % 10
    names = dict(models[0].named_parameters())
    parameters = {name: torch.stack([model.get_parameter(name) for model in models]) for name in names}
    expected = [nn.functional.cross_entropy(model(x), y) for model, x, y in zip(models, inputs, labels, strict=True)]
    torch.testing.assert_close(losses_of(build(), parameters, inputs, labels), torch.stack(expected))


def test_steps_together_are_steps_one_by_one() -> None:
    models, inputs = [build() for _ in range(2)], torch.rand(2, 5, 1, 8, 8, generator=stream(0, "inputs"))
    labels = torch.arange(10).view(2, 5)
    stacked, one_by_one = Stacked(copy.deepcopy(models), 1e-3), OneByOne(copy.deepcopy(models), 1e-3)
    for _ in range(5):
        stacked.step(inputs, labels)
        one_by_one.step(inputs, labels)
    for start, ours, theirs in zip(models, stacked.models(), one_by_one.models(), strict=True):
        torch.testing.assert_close(flat_weights(ours), flat_weights(theirs), atol=1e-5, rtol=1e-4)
        assert (flat_weights(ours) - flat_weights(start)).abs().max() > 1e-3


def test_only_what_gains_is_trained_together() -> None:
    inputs = digits_problem().train.tensors().inputs[:2]
    assert pays_off(build(), inputs)
    assert not pays_off(build(batch_norm=True), inputs)
    assert not pays_off(Plain(), inputs)  # its branch depends on values
    assert not pays_off(nn.Sequential(nn.Conv2d(1, 2, 3), nn.Flatten(), nn.Linear(72, 10)), inputs)
