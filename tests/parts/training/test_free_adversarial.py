"""Adversarial examples along the gradient of the clean loss."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from study.data.split import Batch
from study.data.threat import ThreatModel
from study.parts.training.free_adversarial import FreeAdversary
from study.runtime.randomness import stream
from tests.problems import digits_problem

RADIUS = 0.07


def first_batch() -> Batch:
    """66 items."""
    return next(iter(digits_problem().train.batches(66, stream(0, "batches"))))


def adversary(share: float = 0.5, **threat: Any) -> FreeAdversary:
    return FreeAdversary(weight=2.0, share=share, threat=ThreatModel(**({"radius": RADIUS} | threat)))


@pytest.mark.parametrize("batch_norm", [False, True])
def test_they_follow_the_gradient_within_radius_and_bounds(batch_norm: bool) -> None:
    model, batch = digits_problem(batch_norm).copy().train(), first_batch()
    inputs = batch.inputs.clone().requires_grad_()
    (expected,) = torch.autograd.grad(functional.cross_entropy(model(inputs), batch.labels), inputs)
    logits, attacked = adversary().forward(model, batch.inputs)
    functional.cross_entropy(logits, batch.labels).backward()
    assert attacked.grad is not None
    torch.testing.assert_close(attacked.grad, expected[-33:])
    seen: list[Tensor] = []
    model.register_forward_pre_hook(lambda _, arguments: seen.append(arguments[0]))
    adversary().loss(model, attacked, batch.labels)
    clean = batch.inputs[-33:]
    assert seen[0].equal((clean + RADIUS * attacked.grad.sign()).clamp(0, 1))
    assert seen[0].min() >= 0
    assert seen[0].max() <= 1
    assert (seen[0] - clean).abs().max() <= RADIUS + 1e-6
    assert (seen[0] != clean).any()


def test_the_loss_is_weighted_by_the_share_of_the_batch() -> None:
    model, batch = digits_problem().copy(), first_batch()
    logits, attacked = adversary(share=0.25).forward(model, batch.inputs)
    functional.cross_entropy(logits, batch.labels).backward()
    examples = adversary(share=0.25).examples(attacked)
    assert len(examples) == round(0.25 * 66)
    expected = 2.0 * 0.25 * functional.cross_entropy(model(examples), batch.labels[-len(examples) :])
    torch.testing.assert_close(adversary(share=0.25).loss(model, attacked, batch.labels), expected)


@pytest.mark.parametrize("share", [0.0, 0.001, 1.0])
def test_from_no_item_to_all(share: float) -> None:
    model, batch = digits_problem().copy(), first_batch()
    logits, attacked = adversary(share).forward(model, batch.inputs)
    torch.testing.assert_close(logits, model(batch.inputs))
    assert len(attacked) == (66 if share == 1 else 0)
    assert attacked.requires_grad == (share == 1)
    assert not batch.inputs.requires_grad


def test_columns_that_an_attack_may_not_touch_stay_as_they_are() -> None:
    attacked = torch.full((4, 3), 0.5).requires_grad_()
    attacked.sum().backward()
    assert adversary(columns=(1,)).examples(attacked)[0].tolist() == pytest.approx([0.5, 0.5 + RADIUS, 0.5])
