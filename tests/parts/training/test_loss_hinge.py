"""The hinge on the old model's losses."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from study.data.split import Batch, Split
from study.parts.training.loss_hinge import LossHinge, ceilings
from study.problem.prediction import predict
from study.runtime.randomness import stream
from tests.problems import digits_problem


def data() -> Split:
    """The repair split, on which the faulty model errs here and there."""
    return digits_problem().repair_set


def hinge_of(weight: float = 1.0, live: bool = False) -> LossHinge:
    return LossHinge(digits_problem().faulty, data(), weight=weight, live=live)


def first_batch() -> Batch:
    return next(iter(data().batches(64, stream(0, "batches"))))


@pytest.mark.parametrize("weight", [1.0, 0.25])
def test_it_is_silent_where_the_old_model_was_wrong_or_worse(weight: float) -> None:
    hinge, batch = hinge_of(weight), first_batch()
    limits = hinge.ceilings[batch.indices]
    assert limits.isinf().any()
    for losses, expected in (
        (limits.nan_to_num(posinf=5.0) - 0.1, torch.zeros_like(limits)),
        (limits.nan_to_num(posinf=5.0) + 0.1, weight * limits.isfinite() / len(limits)),
    ):
        losses = losses.detach().requires_grad_()
        penalty = hinge(losses, batch, distorted=0)
        (gradient,) = torch.autograd.grad(penalty, losses)
        torch.testing.assert_close(gradient, expected.float())
        torch.testing.assert_close(penalty, (0.1 * expected).sum())


@pytest.mark.parametrize("live", [False, True])
def test_it_is_zero_at_the_old_model(live: bool) -> None:
    batch, model = first_batch(), digits_problem().faulty
    batch.inputs[:32] = batch.inputs[:32].flip(3)
    losses = functional.cross_entropy(model(batch.inputs), batch.labels, reduction="none")
    assert hinge_of(live=live)(losses, batch, distorted=32).item() == pytest.approx(0, abs=1e-6)


def test_live_it_covers_distorted_items_by_the_old_models_loss_on_them() -> None:
    batch, problem = first_batch(), digits_problem()
    batch.inputs[:32] = batch.inputs[:32] * 0.9
    losses = torch.full((64,), 5.0)
    clean, live = (hinge_of(live=live)(losses, batch, distorted=32).item() for live in (False, True))
    limits = ceilings(problem.faulty(batch.inputs), batch.labels)
    assert clean == pytest.approx((5 - limits[32:]).relu().mean().item(), rel=1e-5)
    assert live == pytest.approx((5 - limits).relu().mean().item(), rel=1e-5)


def test_without_a_clean_item_it_is_zero() -> None:
    assert hinge_of()(torch.ones(64), first_batch(), distorted=64) == 0


def test_the_old_model_is_right_below_its_ceiling() -> None:
    logits, labels = torch.tensor([[2.0, 0.0], [0.0, 2.0]]), torch.tensor([0, 0])
    assert ceilings(logits, labels).tolist() == [pytest.approx(0.1269, abs=1e-4), torch.inf]


def test_the_ceilings_are_those_of_the_whole_data() -> None:
    logits = predict(digits_problem().faulty, data())
    assert hinge_of().ceilings.equal(ceilings(logits, data().labels))
