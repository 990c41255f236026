"""Fine-tuning, the control."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import pytest
import torch
from torch.nn import functional

from study.data.split import joined
from study.errors import UsageError
from study.methods.model_level.finetune import Finetune
from study.parts.training.fine_tuning import FineTuning
from study.parts.training.schedule import over_steps
from study.problem.prediction import right
from study.problem.problem import Problem
from study.storage.models import weights_hash
from tests.fitting import finished, fitted
from tests.problems import RECIPE, digits_problem, digits_splits


def training_of(problem: Problem, **options: Any) -> FineTuning:
    """The one training that the approach yields."""
    training = next(Finetune(**options).repair(problem))
    assert isinstance(training, FineTuning)
    return training


def trained(**options: Any) -> FineTuning:
    training = training_of(digits_problem(), **options)
    fitted(training)
    return training


@pytest.mark.parametrize("schedule", ["constant", "cosine"])
def test_equals_a_bare_training_loop(schedule: Any) -> None:
    problem = digits_problem()
    model, data = problem.copy().train(), joined("both", [problem.train, problem.repair_set])
    optimizer = torch.optim.Adam(model.parameters(), fused=True)
    loader = data.batches(64, problem.stream("batches"))
    factor = over_steps(2 * len(loader)) if schedule == "cosine" else lambda _: 1.0
    for step, batch in enumerate(batch for _ in range(2) for batch in loader):
        optimizer.param_groups[0]["lr"] = 2e-3 * factor(step)
        optimizer.zero_grad()
        functional.cross_entropy(model(batch.inputs), batch.labels).backward()
        optimizer.step()
    ours = trained(epochs=2, schedule=schedule)
    assert weights_hash(ours.model) == weights_hash(model)
    assert ours.steps_taken == 2 * len(loader)


@pytest.mark.parametrize("data", ["train", "train_and_repair", "train_and_failing"])
def test_trains_on_what_it_is_told_to(data: Any) -> None:
    problem = digits_problem()
    training = training_of(problem, data=data)
    added = {"train": 0, "train_and_repair": 400, "train_and_failing": len(problem.failing)}[data]
    drawn = torch.cat([batch.labels for batch in training.train_dataloader()])
    assert len(drawn) == 800 + added
    expected = torch.bincount(problem.train.labels, minlength=10)
    if data == "train_and_failing":
        expected = expected + torch.bincount(problem.repair_set.labels[problem.failing], minlength=10)
    if data != "train_and_repair":
        assert torch.bincount(drawn, minlength=10).equal(expected)


@pytest.mark.parametrize("steps", [7, 50])
def test_a_budget_of_steps_replaces_epochs_and_ends_the_cosine(steps: int) -> None:
    training = trained(steps=steps)
    assert training.steps_taken == steps
    assert training.lr_schedulers().get_last_lr()[0] == pytest.approx(0, abs=1e-9)  # type: ignore[union-attr]


def test_a_budget_of_seconds_ends_with_a_result() -> None:
    result = finished(Finetune(seconds=0.4, epochs=0))
    assert result.outcome == "repaired"
    assert 0.4 <= result.seconds < 5
    with pytest.raises(UsageError, match="steps"):
        Finetune(steps=3, seconds=1)


def test_rates_follow_from_recipe_and_schedule() -> None:
    def peak(problem: Any, **options: Any) -> float:
        made = training_of(problem, **options).configure_optimizers()
        optimizer = made["optimizer"] if isinstance(made, dict) else made
        group = optimizer.param_groups[0]
        return float(group.get("initial_lr", group["lr"]))

    adam = dataclasses.replace(digits_problem(), recipe=dataclasses.replace(RECIPE, lr=3e-4))
    sgd = dataclasses.replace(adam, recipe=dataclasses.replace(RECIPE, optimizer="sgd", lr=0.1))
    normalised = dataclasses.replace(digits_problem(batch_norm=True), recipe=adam.recipe)
    assert peak(adam) == 2e-3
    assert peak(normalised) == 1e-3
    assert peak(sgd) == 0.1
    assert peak(adam, schedule="constant") == 3e-4
    assert peak(adam, lr=5e-3) == 5e-3


def test_selection_on_validation_keeps_the_best_epoch() -> None:
    problem, accuracies, hashes = digits_problem(), [], []
    for epochs in range(1, 6):
        model = trained(epochs=epochs, schedule="constant").model
        accuracies.append(right(model, problem.validation).sum().item())
        hashes.append(weights_hash(model))
    best = max(range(5), key=accuracies.__getitem__)
    chosen = trained(epochs=5, schedule="constant", select="validation").model
    assert weights_hash(chosen) == hashes[best]


def test_uses_the_augmentation_of_the_recipe() -> None:
    problem = digits_problem()
    moved = dataclasses.replace(problem, recipe=dataclasses.replace(RECIPE, augmentation="crop"))
    losses = []
    for case in (problem, moved):
        training = training_of(case)
        losses.append(training.loss(next(iter(training.train_dataloader()))).item())
    assert losses[1] > losses[0]
    assert all(map(math.isfinite, losses))


def test_repairs_digits() -> None:
    problem, test = digits_problem(), digits_splits()["test"]
    result = finished(Finetune(), problem)
    assert result.model is not None
    before, after = right(problem.faulty, test), right(result.model, test)
    assert (after & ~before).sum() > 0.2 * (~before).sum()
    assert (before & ~after).double().mean() < 0.02
