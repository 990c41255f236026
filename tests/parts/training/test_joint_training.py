"""Training on several aims at once: what a step adds up."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from study.data.split import Batch
from study.data.threat import ThreatModel
from study.errors import RepairFailed
from study.parts.augmentation.label_preserving import distortion_of
from study.parts.training.fairness import equalised_odds
from study.parts.training.free_adversarial import FreeAdversary
from study.parts.training.joint_training import JointTraining
from study.parts.training.loss_hinge import LossHinge
from study.parts.training.schedule import with_schedule
from study.runtime.randomness import stream
from tests.fitting import fitted
from tests.problems import digits_problem

ADVERSARY = FreeAdversary(weight=1.5, share=0.5, threat=ThreatModel(radius=0.07))


class Once:
    """A loader of one batch (Lightning would take a list of tuples for a collection of loaders)."""

    def __init__(self, batch: Batch) -> None:
        self.batch = batch

    def __iter__(self) -> Iterator[Batch]:
        return iter([self.batch])


def first_batch() -> Batch:
    """66 items, 16 of them are a quarter."""
    return next(iter(digits_problem().train.batches(66, stream(0, "batches"))))


def training(batches: Iterable[Batch] = (), lr: float = 1e-3, **changes: Any) -> JointTraining:
    problem = digits_problem()
    model = problem.copy()
    optimization = with_schedule(torch.optim.Adam(model.parameters(), lr), lambda _: 1.0)
    options: dict[str, Any] = {
        "max_epochs": 1,
        "validation": problem.validation,
        "aug": 0.0,
        "distortion": distortion_of(problem.train, problem.task, False, stream(0, "distortion")),
        "hinge": LossHinge(problem.faulty, problem.train, weight=1.0, live=False),
        "fair": 0.0,
        "adversary": None,
    }
    return JointTraining(model, batches, optimization, **(options | changes))


def gradients(model: nn.Module) -> list[Tensor]:
    return [parameter.grad.clone() for parameter in model.parameters() if parameter.grad is not None]


def gradients_of_a_step(stage: JointTraining) -> list[Tensor]:
    """Those with which the optimizer steps on the first batch."""
    steps: list[list[Tensor]] = []
    stage.on_train_batch_end = lambda *_: steps.append(gradients(stage.model))  # type: ignore[method-assign]
    fitted(stage)
    return steps[0]


def test_only_the_first_items_are_distorted() -> None:
    batch = first_batch()
    clean = batch.inputs.clone()
    changed = (training(aug=0.25).distorted(batch).inputs != clean).flatten(1).any(1)
    assert changed.tolist() == [True] * 16 + [False] * 50
    assert batch.inputs.equal(clean)


def test_a_step_adds_the_gradients_of_both_parts() -> None:
    batch = first_batch()
    stage = training(adversary=ADVERSARY)
    stage.train()
    logits, attacked = ADVERSARY.forward(stage.model, batch.inputs)
    stage.clean_loss(logits, batch).backward()
    first = gradients(stage.model)
    stage.model.zero_grad()
    ADVERSARY.loss(stage.model, attacked, batch.labels).backward()
    second = gradients(stage.model)
    total = gradients_of_a_step(training(Once(batch), adversary=ADVERSARY))
    for both, one, other in zip(total, first, second, strict=True):
        torch.testing.assert_close(both, one + other, atol=1e-6, rtol=1e-4)


def test_the_clean_loss_adds_hinge_and_equal_odds() -> None:
    groups = torch.arange(66) % 2
    batch = first_batch()._replace(groups=groups)
    stage = training(fair=0.5, aug=0.25)
    with torch.no_grad():
        logits = 0.5 * stage.model(batch.inputs)
    losses = functional.cross_entropy(logits, batch.labels, reduction="none")
    assert stage.hinge is not None
    hinge, odds = stage.hinge(losses, batch, distorted=16), equalised_odds(logits.softmax(1), batch.labels, groups)
    assert hinge > 0 and odds > 0
    torch.testing.assert_close(stage.clean_loss(logits, batch), losses.mean() + hinge + 0.5 * odds)
    alone = training(hinge=None)
    assert alone.clean_loss(logits, batch).equal(losses.mean())


def test_the_hinge_sees_the_distorted_inputs() -> None:
    problem, batch = digits_problem(), first_batch()
    stage = training(aug=0.5, hinge=LossHinge(problem.faulty, problem.train, weight=1.0, live=True))
    batch = stage.distorted(batch)
    losses = functional.cross_entropy(stage.model(batch.inputs), batch.labels, reduction="none")
    torch.testing.assert_close(stage.clean_loss(stage.model(batch.inputs), batch), losses.mean())


def test_without_an_adversary_no_input_gradient_is_computed() -> None:
    batch = first_batch()
    stage = training(Once(batch))
    seen: list[Tensor] = []
    stage.model.register_forward_pre_hook(lambda _, arguments: seen.append(arguments[0]))
    fitted(stage)
    assert not any(inputs.requires_grad for inputs in seen)
    assert batch.inputs.grad is None


def test_a_share_too_small_for_one_item_is_no_attack() -> None:
    batch = first_batch()
    none = FreeAdversary(weight=1.5, share=0.001, threat=ThreatModel(radius=0.07))
    ours, plain = (gradients_of_a_step(training(Once(batch), adversary=one)) for one in (none, None))
    assert all(torch.equal(one, other) for one, other in zip(ours, plain, strict=True))


def test_the_last_epoch_is_kept_and_each_is_recorded() -> None:
    problem = digits_problem()
    stage = training(problem.train.batches(64, stream(0, "batches")), max_epochs=3)
    curves = fitted(stage).values
    assert stage.best.score is None
    assert stage.steps_taken == 3 * 13
    for name in ("loss", "validation/accuracy", "validation/loss"):
        assert [step for step, _ in curves[name]] == [13, 26, 39]


def test_a_loss_that_is_not_finite_ends_it() -> None:
    batch = first_batch()
    batch.inputs[0] = torch.inf
    with pytest.raises(RepairFailed, match="no longer finite"):
        fitted(training(Once(batch)))
