from __future__ import annotations

import dataclasses
from typing import Any

import pytest
import torch
from torch import nn

from study.data.split import Split
from study.errors import RepairFailed
from study.parts.augmentation.mixing import Mixing
from study.parts.augmentation.views import Views
from study.parts.training.mixmatch import MixMatchSettings
from study.parts.training.partly_labelled import PartlyLabelled
from study.problem.prediction import predict, right
from study.problem.problem import Problem
from tests.fitting import fitted
from tests.problems import digits_problem

SETTINGS = MixMatchSettings(temperature=0.5, alpha=0.75, weight=100.0, smoothing=0.1)


@pytest.fixture
def problem() -> Problem:
    return digits_problem()


def trainings(problem: Problem, known: int = 50, batch_size: int = 64, model: nn.Module | None = None) -> Any:
    """With the labels of the first repair inputs known."""
    model = model or problem.copy()
    labels = torch.where(torch.arange(400) < known, problem.repair_set.labels, -1)
    pool = Split("pool", problem.repair_set.tensors().inputs, labels)
    sgd = torch.optim.SGD(model.parameters(), 0.05, 0.9)
    views = Views(Mixing(width=1), 2, problem.stream("views"))
    return PartlyLabelled(problem, model, pool, sgd, views, SETTINGS, batch_size)


def test_an_epoch_without_labels_has_as_many_steps_as_the_larger_split(problem: Problem) -> None:
    made = trainings(problem)
    assert made.steps(torch.arange(800), None) == 12
    assert made.steps(torch.arange(100), None) == 6
    assert made.steps(torch.arange(3), None) == 6
    assert made.steps(torch.arange(800), 5) == 5
    assert trainings(problem, batch_size=5000).steps(torch.arange(800), None) == 1


def test_what_is_learnt_are_the_training_items_that_the_network_gets_right(problem: Problem) -> None:
    correct = right(problem.faulty, problem.train).nonzero().flatten()
    assert torch.equal(trainings(problem).learnt("right"), correct) and len(correct) < 800
    assert torch.equal(trainings(problem).learnt("all"), torch.arange(800))
    labels = (predict(problem.faulty, problem.train).argmax(1) + 1) % 10
    wrong = dataclasses.replace(problem, train=Split("train", problem.train.tensors().inputs, labels))
    with pytest.raises(RepairFailed, match="no training input right") as failure:
        trainings(wrong).learnt("right", labels=7)
    assert failure.value.costs == {"labels": 7}


def drawn(training: Any) -> torch.Tensor:
    return torch.cat([batch.indices for batch in training.batches])


def test_trainings_run_over_what_they_are_given_and_the_known_labels(problem: Problem) -> None:
    made, indices = trainings(problem), torch.arange(100, 400)
    plain, supervised = drawn(made.plain(indices)), drawn(made.supervised(indices))
    assert len(plain) == 256 and set(plain.tolist()) <= set(range(100, 400))  # whole batches alone
    assert len(supervised) == 320 and set(supervised.tolist()) <= set(range(100, 400)) | set(range(800, 850))
    assert (supervised >= 800).sum() > 30
    batch = made.labelled.fetch(torch.arange(800, 850))
    assert torch.equal(batch.labels, problem.repair_set.labels[:50])
    assert torch.equal(batch.inputs, problem.repair_set.tensors().inputs[:50])
    assert len(drawn(trainings(problem, batch_size=5000).plain(indices))) == 300


def test_only_known_labels_are_smoothed_and_only_with_the_pool(problem: Problem) -> None:
    made = trainings(problem)
    assert made.plain(torch.arange(100)).smoothing == 0.0
    assert made.supervised(torch.arange(100)).smoothing == 0.1


def test_optimizer_and_streams_go_on_from_each_training_to_the_next(problem: Problem) -> None:
    model = problem.copy()
    made = trainings(problem, model=model)
    first, second = made.plain(torch.arange(800)), made.supervised(torch.arange(800), 3)
    third = made.mixmatch(torch.arange(800), torch.ones(400), 4)
    assert not torch.equal(drawn(first), drawn(made.plain(torch.arange(800))))
    buffers = []
    for training in (first, second, third):
        fitted(training)
        buffers.append(made.optimizer.state[next(model.parameters())]["momentum_buffer"])
    assert [training.steps_taken for training in (first, second, third)] == [12, 3, 4]
    assert buffers[0] is buffers[1] is buffers[2] and bool(buffers[0].any())
