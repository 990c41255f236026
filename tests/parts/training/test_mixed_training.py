from __future__ import annotations

import dataclasses
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from study.data.split import Batch
from study.parts.augmentation.drawn_transform import Transform
from study.parts.augmentation.mixing import VIEWS
from study.parts.training.consistency import consistency_loss
from study.parts.training.mixed_training import MixedTraining
from study.problem.prediction import accuracy, predict
from study.problem.problem import Problem
from tests.fitting import fitted
from tests.problems import digits_problem


def darkened(batch: Batch, clean: Tensor, transform: Transform) -> Tensor:
    """Views that are the clean image at half its brightness."""
    assert torch.equal(transform(batch.inputs), clean)
    return (clean / 2).repeat(VIEWS, 1, 1, 1)


@pytest.fixture
def problem() -> Problem:
    whole = digits_problem()
    return dataclasses.replace(whole, recipe=dataclasses.replace(whole.recipe, augmentation="crop_flip"))


def training_of(problem: Problem, *, lr: float = 0.01, **options: Any) -> MixedTraining:
    model = problem.copy()
    usual = {"views": darkened, "jsd_weight": 3.0, "epochs": 2, "patience": None, "rank": lambda right, fixed: right}
    return MixedTraining(
        problem,
        model,
        problem.train.batches(64, problem.stream("batches")),
        torch.optim.SGD(model.parameters(), lr),
        failing=problem.repair_set.subset(problem.failing),
        **(usual | options),
    )


def test_the_loss_is_cross_entropy_and_consistency_on_transformed_images(problem: Problem) -> None:
    batch = problem.train.fetch(torch.arange(50))
    augmentation = problem.recipe.transform
    assert augmentation is not None
    clean = augmentation.apply(batch.inputs, augmentation.draw(batch.inputs, problem.stream("augmentation")))
    plain, whole = training_of(problem, jsd_weight=0), training_of(problem)
    assert torch.equal(plain.loss(batch), functional.cross_entropy(plain.model(clean), batch.labels))
    views = (clean / 2).repeat(VIEWS, 1, 1, 1)
    assert torch.equal(whole.loss(batch), consistency_loss(whole.model, clean, views, batch.labels, 3.0))
    untouched = dataclasses.replace(problem, recipe=dataclasses.replace(problem.recipe, augmentation="none"))
    plain = training_of(untouched, jsd_weight=0)
    assert torch.equal(plain.loss(batch), functional.cross_entropy(plain.model(batch.inputs), batch.labels))


def test_an_epoch_is_evaluated_on_validation_and_on_the_failing_inputs(problem: Problem) -> None:
    seen: list[tuple[float, float]] = []
    training = training_of(problem, epochs=1, rank=lambda right, fixed: seen.append((right, fixed)) or right)
    curves = fitted(training)
    logits, labels = predict(training.model, problem.validation), problem.validation.labels
    right = accuracy(training.model, problem.validation)
    fixed = accuracy(training.model, problem.repair_set.subset(problem.failing))
    assert seen == [(right, fixed)] and training.best.score == right
    recorded = {name: curve[-1][1] for name, curve in curves.values.items()}
    loss = functional.cross_entropy(logits, labels).item()
    assert recorded == {"validation/accuracy": right, "validation/loss": loss, "repair/fixed": fixed}


def test_the_epoch_of_the_highest_rank_is_kept(problem: Problem) -> None:
    ranks = iter([1.0, 3.0, 2.0])
    training = training_of(problem, epochs=3, rank=lambda right, fixed: next(ranks))
    curves = fitted(training)
    accuracies = [value for _, value in curves.values["validation/accuracy"]]
    assert accuracy(training.model, problem.validation) == accuracies[1] and not training.model.training
    assert training.best.score == 3.0


def test_it_ends_early_when_the_validation_loss_no_longer_falls(problem: Problem) -> None:
    steps = []
    for patience in (3, None):
        training = training_of(problem, lr=0.0, epochs=9, patience=patience)
        fitted(training)
        steps.append(training.steps_taken)
    assert steps[0] == 4 / 9 * steps[1]
