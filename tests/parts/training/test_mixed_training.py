from __future__ import annotations

import dataclasses
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from study.data.split import Batch
from study.errors import NotApplicable
from study.parts.augmentation.augmix import OPERATORS, REPLACE
from study.parts.augmentation.mixing import VIEWS, consistency_loss
from study.parts.training.mixed_training import MixedTraining, Transform
from study.problem.prediction import accuracy, predict
from study.problem.problem import Problem
from study.repair.approach import Level
from study.repair.run import repair
from tests.problems import HARDWARE, digits_problem


class Darkened(MixedTraining):
    """Its views are the clean image at half its brightness."""

    level: ClassVar[Level] = "model"
    source: ClassVar[str] = "a test"

    def __init__(self, **options: Any) -> None:
        usual = {"width": 2, "depth": 1, "severity": 1.0, "replacing": False, "jsd_weight": 3.0, "epochs": 2}
        super().__init__(**({"patience": None, "max_seconds": None} | usual | options))

    def views(self, batch: Batch, clean: Tensor, transform: Transform) -> Tensor:
        assert torch.equal(transform(batch.inputs), clean)
        return (clean / 2).repeat(VIEWS, 1, 1, 1)

    def select(self, epoch: int) -> float:
        self.shares = self.evaluated()
        return self.shares[0]


@pytest.fixture
def problem() -> Problem:
    whole = digits_problem()
    return dataclasses.replace(whole, recipe=dataclasses.replace(whole.recipe, augmentation="crop_flip"))


def begun(problem: Problem, **options: Any) -> Darkened:
    approach = Darkened(**options)
    approach.begin(problem)
    return approach


def test_the_loss_is_cross_entropy_and_consistency_on_transformed_images(problem: Problem) -> None:
    batch = problem.train.fetch(torch.arange(50))
    augmentation = problem.recipe.transform
    assert augmentation is not None
    clean = augmentation.apply(batch.inputs, augmentation.draw(batch.inputs, problem.stream("augmentation")))
    plain, whole = begun(problem, jsd_weight=0), begun(problem)
    assert torch.equal(plain.loss(batch), functional.cross_entropy(plain.model(clean), batch.labels))
    views = (clean / 2).repeat(VIEWS, 1, 1, 1)
    assert torch.equal(whole.loss(batch), consistency_loss(whole.model, clean, views, batch.labels, 3.0))
    untouched = dataclasses.replace(problem, recipe=dataclasses.replace(problem.recipe, augmentation="none"))
    plain = begun(untouched, jsd_weight=0)
    assert torch.equal(plain.loss(batch), functional.cross_entropy(plain.model(batch.inputs), batch.labels))


def test_an_epoch_is_evaluated_on_validation_and_on_the_failing_inputs(problem: Problem) -> None:
    approach = Darkened(epochs=1)
    result = repair(approach, problem, HARDWARE)
    assert result.model is not None
    logits, labels = predict(result.model, problem.validation), problem.validation.labels
    right, fixed = accuracy(result.model, problem.validation), accuracy(result.model, approach.failing)
    assert approach.shares == (right, fixed)
    recorded = {name: curve[-1][1] for name, curve in result.curves.items()}
    loss = functional.cross_entropy(logits, labels).item()
    assert recorded == {"validation/accuracy": right, "validation/loss": loss, "repair/fixed": fixed}


def test_it_ends_early_when_the_validation_loss_no_longer_falls(
    problem: Problem, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        Darkened, "configure_optimizers", lambda approach: torch.optim.SGD(approach.model.parameters(), 0.0)
    )
    steps = [repair(Darkened(epochs=9, patience=patience), problem, HARDWARE).costs["steps"] for patience in (3, None)]
    assert steps[0] == 4 / 9 * steps[1]


def test_chains_start_from_another_image_only_where_asked(problem: Problem) -> None:
    assert Darkened().mixing.operators == OPERATORS
    assert Darkened(replacing=True).mixing.operators == (*OPERATORS, REPLACE)
    Darkened().check(problem.task)
    with pytest.raises(NotApplicable, match="needs images: the inputs are table"):
        Darkened().check(dataclasses.replace(problem.task, kind="table"))
