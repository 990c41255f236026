"""Ordinary training: in train mode, from the given weights, and the kept epoch is in the model afterwards."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from study.data.split import Batch
from study.parts.training.base import Training
from study.problem.prediction import accuracy
from study.problem.problem import Problem
from study.storage.models import weights_hash
from tests.fitting import fitted
from tests.problems import digits_problem


class Scored(Training):
    """Notes the weights and the modes, and can be told what each epoch scores."""

    def __init__(self, problem: Problem, scores: Sequence[float | None] = (), passes: int = 1) -> None:
        model = problem.copy()
        super().__init__(
            model,
            problem.train.batches(64, problem.stream("batches")),
            problem.recipe.make_optimizer(model.parameters()),
            max_epochs=len(scores) or passes,
            validation=problem.validation,
        )
        self.scores = scores
        self.states: list[str] = []
        self.modes: set[bool] = set()

    def loss(self, batch: Batch) -> Tensor:
        self.modes |= {module.training for module in self.model.modules()}
        return super().loss(batch)

    def score(self) -> float | None:
        self.states.append(weights_hash(self.model))
        return self.scores[self.current_epoch] if self.scores else super().score()


def test_it_trains_the_given_network() -> None:
    problem = digits_problem()
    training = Scored(problem, passes=2)
    before = weights_hash(problem.faulty)
    curves = fitted(training)
    assert weights_hash(problem.faulty) == before != weights_hash(training.model)
    assert not any(module.training for module in training.model.modules())
    assert accuracy(training.model, problem.validation) > 0.85
    assert training.steps_taken == 2 * math.ceil(800 / 64)
    assert [step for step, _ in curves.values["validation/accuracy"]] == [13, 26]
    assert len(curves.values["validation/loss"]) == 2


def test_a_network_copied_in_eval_mode_is_trained_in_train_mode_after_every_epoch() -> None:
    problem = digits_problem(batch_norm=True)
    training = Scored(problem, passes=3)
    fitted(training)
    assert training.modes == {True}
    old, new = problem.faulty.state_dict(), training.model.state_dict()
    statistics = [name for name in old if "running" in name]
    assert len(statistics) == 4
    assert all(not torch.equal(old[name], new[name]) for name in statistics)


def test_the_best_epoch_is_kept_and_of_equals_the_earliest() -> None:
    training = Scored(digits_problem(), [0.2, 0.9, 0.9, 0.1])
    fitted(training)
    assert len(set(training.states)) == 4
    assert weights_hash(training.model) == training.states[1]


def test_without_a_score_the_last_epoch_is_kept() -> None:
    training = Scored(digits_problem(), [None, None, None])
    fitted(training)
    assert weights_hash(training.model) == training.states[2]


def test_the_usual_score_is_validation_accuracy() -> None:
    problem = digits_problem()
    training = Scored(problem, passes=3)
    curve = fitted(training).values["validation/accuracy"]
    assert accuracy(training.model, problem.validation) == max(score for _, score in curve)


def test_without_an_epoch_the_network_stays_as_it_is() -> None:
    problem = digits_problem(batch_norm=True)
    training = Scored(problem)
    training.max_epochs = 0
    fitted(training)
    assert weights_hash(training.model) == weights_hash(problem.faulty) and not training.model.training


def test_inputs_are_augmented_in_training_alone() -> None:
    problem = digits_problem()
    seen: list[Tensor] = []

    def augment(inputs: Tensor) -> Tensor:
        seen.append(inputs)
        return torch.zeros_like(inputs)

    training = Scored(problem, passes=2)
    training.augment = augment
    fitted(training)
    assert len(seen) == training.steps_taken
