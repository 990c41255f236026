from __future__ import annotations

from typing import Literal

import pytest
import torch

from study.data.split import Split
from study.parts.training.running_accuracy import RunningAccuracyTraining
from study.problem.prediction import accuracy, right
from study.problem.problem import Problem
from tests.fitting import fitted
from tests.problems import digits_problem

Keep = Literal["train", "validation"]


@pytest.fixture
def problem() -> Problem:
    return digits_problem()


def training_of(problem: Problem, keep: Keep = "train", lr: float = 0.01, epochs: int = 3) -> RunningAccuracyTraining:
    model = problem.copy()
    return RunningAccuracyTraining(
        model,
        problem.train.batches(30, problem.stream("batches")),
        torch.optim.SGD(model.parameters(), lr, momentum=0.9),
        max_epochs=epochs,
        validation=problem.validation,
        augment=lambda inputs: inputs,
        keep=keep,
    )


def test_the_running_accuracy_is_that_of_the_batches_as_they_were_trained_on(problem: Problem) -> None:
    frozen = training_of(problem, lr=0.0, epochs=2)
    curves = fitted(frozen).values
    expected = accuracy(problem.faulty, problem.train)  # of the same weights, each time
    assert curves["train/accuracy"] == [(27, expected), (54, expected)]
    assert curves["validation/accuracy"] == [(step, accuracy(problem.faulty, problem.validation)) for step in (27, 54)]


def test_augmented_inputs_are_what_counts(problem: Problem) -> None:
    training = training_of(problem, lr=0.0, epochs=1)
    training.augment = torch.zeros_like
    ((_, blind),) = fitted(training).values["train/accuracy"]
    zeros = Split("train", torch.zeros_like(problem.train.tensors().inputs), problem.train.labels)
    assert blind == accuracy(problem.faulty, zeros) < 0.3


def test_the_epoch_that_was_best_on_its_own_data_is_kept(problem: Problem) -> None:
    training = training_of(problem)
    states = []
    for count in (700, 790, 790):
        with torch.no_grad():
            next(training.model.parameters()).add_(1)
        states.append({name: tensor.clone() for name, tensor in training.model.state_dict().items()})
        training._right, training._seen = count, 800
        assert training.score() == count / 800
        training._right, training._seen = count, 800
        training.on_train_epoch_end()
    training.on_fit_end()
    kept = training.model.state_dict()
    assert all(torch.equal(kept[name], tensor) for name, tensor in states[1].items())


def test_selection_by_validation_is_validation_accuracy(problem: Problem) -> None:
    training = training_of(problem, "validation")
    training._right, training._seen = 1, 2
    score = training.score()
    assert score is not None and 0.9 < score < 0.97


def test_each_epoch_is_counted_by_itself(problem: Problem) -> None:
    training = training_of(problem)
    wrong, sure = (~right(problem.faulty, problem.train)).nonzero(), right(problem.faulty, problem.train).nonzero()
    training.loss(problem.train.fetch(wrong.flatten()))
    assert training.score() == 0
    training.loss(problem.train.fetch(sure.flatten()))
    assert training.score() == 1
