"""Training in passes with other steps in between."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from study.methods.model_level.finetune import Finetune
from study.parts.training.continued import ContinuedTraining
from study.problem.problem import Problem
from study.runtime.fit import Curves, fit
from study.storage.models import weights_hash
from tests.problems import HARDWARE, RECIPE, digits_problem

SGD = dataclasses.replace(RECIPE, optimizer="sgd", lr=0.05)
CROP = dataclasses.replace(RECIPE, augmentation="crop")


def continued(problem: Problem, passes: int, **options: Any) -> ContinuedTraining:
    arguments: dict[str, Any] = {"max_steps": 10**6, "schedule": "cosine", "lr": "auto", "batch_size": "auto"}
    return ContinuedTraining(problem, problem.copy().train(), passes=passes, **(arguments | options))


@pytest.mark.parametrize("recipe", [RECIPE, SGD, CROP], ids=["adam", "sgd", "crop"])
@pytest.mark.parametrize("options", [{}, {"schedule": "constant"}, {"lr": 1e-4, "batch_size": 50}, {"max_steps": 20}])
@pytest.mark.parametrize("batch_norm", [False, True], ids=["plain", "batch_norm"])
def test_without_anything_in_between_it_is_fine_tuning_bit_for_bit(recipe: Any, options: Any, batch_norm: bool) -> None:
    problem = dataclasses.replace(digits_problem(batch_norm), recipe=recipe)
    training = continued(problem, 2, **options)
    taken = [step for _ in range(2) for step in training.one_pass()]
    assert taken == list(range(1, training.total + 1))
    assert training.ended
    same = {name: value for name, value in options.items() if name != "max_steps"}
    control = Finetune(data="train", epochs=2, steps=options.get("max_steps"), **same)
    control.begin(problem)
    fit(control, HARDWARE, loader=control.batches(), curves=Curves(), epochs=control.epochs, steps=control.steps)
    assert weights_hash(training.model) == weights_hash(control.model) != weights_hash(problem.faulty)


def test_ends_with_its_steps_in_the_middle_of_a_pass() -> None:
    training = continued(digits_problem(), 3, max_steps=20)
    lengths = []
    for _ in range(3):
        lengths.append(len(list(training.one_pass())))
    assert lengths == [13, 7, 0]
