"""Training in rounds with other steps in between."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from study.parts.training.fine_tuning import FineTuning
from study.parts.training.retraining import Retraining
from study.problem.problem import Problem
from study.runtime.best_state import BestState
from study.storage.models import weights_hash
from tests.fitting import fitted
from tests.problems import RECIPE, digits_problem

SGD = dataclasses.replace(RECIPE, optimizer="sgd", lr=0.05)
CROP = dataclasses.replace(RECIPE, augmentation="crop")


def retraining(problem: Problem, rounds: int, **options: Any) -> Retraining:
    return Retraining(problem, problem.copy(), rounds=rounds, epochs=1, **({"max_steps": 10**6} | options))


@pytest.mark.parametrize("recipe", [RECIPE, SGD, CROP], ids=["adam", "sgd", "crop"])
@pytest.mark.parametrize("options", [{}, {"schedule": "constant"}, {"lr": 1e-4, "batch_size": 50}, {"max_steps": 20}])
@pytest.mark.parametrize("batch_norm", [False, True], ids=["plain", "batch_norm"])
def test_without_anything_in_between_it_is_fine_tuning_bit_for_bit(recipe: Any, options: Any, batch_norm: bool) -> None:
    problem = dataclasses.replace(digits_problem(batch_norm), recipe=recipe)
    training = retraining(problem, 2, **options)
    taken = []
    for _ in range(2):
        fitted(training)
        taken.append(training.steps_taken)
    assert taken[-1] == training.total and taken[0] < taken[1]
    assert training.has_ended
    same = {name: value for name, value in options.items() if name != "max_steps"}
    control = FineTuning(problem, problem.copy(), problem.train, epochs=2, steps=options.get("max_steps"), **same)
    fitted(control)
    assert weights_hash(training.model) == weights_hash(control.model) != weights_hash(problem.faulty)


def test_ends_with_its_steps_in_the_middle_of_a_pass() -> None:
    training, taken = retraining(digits_problem(), 3, max_steps=20), [0]
    for _ in range(2):
        fitted(training)
        taken.append(training.steps_taken)
    assert taken == [0, 13, 20] and training.has_ended


def test_the_standing_at_the_end_of_a_round_is_recorded_at_its_step() -> None:
    training = retraining(digits_problem(), 2)
    curves = fitted(training)
    assert curves.values["validation/accuracy"] == [(13, training.standing.validation_accuracy)]
    assert curves.values["repair_set/repair_rate"] == [(13, training.standing.repair_rate)]


def test_stored_weights_stay_when_training_goes_on() -> None:
    problem = digits_problem(batch_norm=True)
    training = retraining(problem, 1, max_steps=1, schedule="constant")
    best = BestState()
    assert best.offer(0.6, training.model)
    assert not best.offer(0.6, training.model)
    fitted(training)
    before = problem.faulty.state_dict()
    assert all(not tensor.equal(before[name]) for name, tensor in training.model.state_dict().items())
    best.restore(training.model)
    assert weights_hash(training.model) == weights_hash(problem.faulty)
