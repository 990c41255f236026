from __future__ import annotations

import dataclasses
import math
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor, nn

from study.data.split import Split
from study.errors import NotApplicable
from study.methods.model_level.hudd import HUDD
from study.models.lenet5 import LeNet5
from study.parts.localisation.relevance import Relevance
from study.parts.selection.root_causes import RootCauses, root_causes
from study.parts.training.running_accuracy import RunningAccuracyTraining
from study.problem.problem import Problem
from study.problem.task import TaskSpec
from study.repairs.run import RepairResult
from tests.fitting import finished
from tests.networks import TinyNet
from tests.problems import build, digits_problem, digits_splits, problem_of, same


@pytest.fixture
def problem() -> Problem:
    return digits_problem()


class Begun(NamedTuple):
    """What HUDD knows when its training begins; data: the split that it trains on."""

    relevance: Relevance
    causes: RootCauses
    bag: Tensor
    data: Split


def begun(problem: Problem, **options: Any) -> Begun:
    approach = HUDD(**options)
    relevance = Relevance(problem.faulty, None if approach.layers == "all" else approach.layers)
    errors, improvement = approach.roles(problem)
    causes = root_causes(relevance, problem.repair_set, errors, max_clusters=approach.max_clusters, pool=approach.pool)
    bag = approach.filled_bag(problem, relevance, causes, errors, improvement)
    training = next(item for item in approach.repair(problem) if isinstance(item, RunningAccuracyTraining))
    data = training.batches.split
    added = problem.repair_set.subset(bag).tensors()
    assert torch.equal(data.fetch(torch.arange(len(problem.train), len(data))).inputs, added.inputs)
    return Begun(relevance, causes, bag, data)


def run(problem: Problem, **options: Any) -> RepairResult:
    return finished(HUDD(**({"epochs": 3, "batch_size": 32} | options)), problem)


def test_it_repairs_failing_inputs_and_counts_what_it_used(problem: Problem) -> None:
    result = run(problem, epochs=10)
    assert result.outcome == "repaired"
    assert result.costs["repair_set_fixed"] > 0.2
    assert result.costs["labels"] <= result.costs["bag"] <= len(problem.train)
    assert result.costs["clusters"] >= 2 and result.costs["excluded"] == 0
    assert {"clusters/within", "train/accuracy", "validation/accuracy"} <= set(result.curves)
    assert list(result.curves["clusters/within"]) == begun(problem).causes.curve


def test_the_bag_is_balanced_and_of_the_repair_split(problem: Problem) -> None:
    _, causes, bag, data = begun(problem)
    sizes = torch.bincount(causes.labels[causes.labels >= 0])
    assert len(bag) == causes.count * 2 * int(sizes.max())
    assert len(bag.unique()) == 2 * int(sizes.sum())
    assert torch.isin(causes.errors[causes.labels >= 0], bag).all()  # at distance 0 of their own cluster
    assert torch.equal(data.labels[len(problem.train) :], problem.repair_set.labels[bag])
    assert torch.equal(bag, begun(problem).bag)
    unbalanced = begun(problem, balance=False).bag
    assert len(unbalanced) == len(unbalanced.unique()) == len(bag.unique())


def test_controls_have_as_large_a_bag(problem: Problem) -> None:
    usual, chance, failing = (begun(problem, bag=bag).bag for bag in ("clusters", "random", "failing"))
    assert len(usual) == len(chance) == len(failing)
    assert len(chance.unique()) == len(usual.unique()) and torch.isin(chance, problem.passing).float().mean() > 0.5
    assert torch.equal(failing.unique(), problem.failing)


def test_improvement_inputs_are_only_taken_where_they_may_be(problem: Problem) -> None:
    passing = begun(problem, improvement="repair_passing")
    assert torch.isin(passing.bag, problem.passing).all()
    halves = begun(problem, improvement="holdout")
    errors, improvement = HUDD(improvement="holdout").roles(problem)
    assert not torch.isin(improvement, errors).any() and torch.isin(errors, problem.failing).all()
    assert torch.isin(halves.bag, improvement).all() and 0 < len(errors) < len(problem.failing)
    counts = torch.bincount(problem.repair_set.labels[improvement])
    assert ((torch.bincount(problem.repair_set.labels) - 2 * counts).abs() <= 1).all()


def test_the_bag_is_capped_as_a_share_of_the_training_set(problem: Problem) -> None:
    assert len(begun(problem, max_bag_ratio=0.01).bag) == 8


def test_no_epoch_leaves_the_model_as_it_is(problem: Problem) -> None:
    result = run(problem, epochs=0)
    assert result.outcome == "failure" and not result.changed


def test_it_trains_a_convolution_and_its_batch_norm() -> None:
    torch.manual_seed(0)
    tiny = problem_of(build(TinyNet), digits_splits())
    assert begun(tiny, layers="all").relevance.names == ["net.features.2", "net.features.3", "net.head.0"]
    result = run(tiny, layers="all", pool=2)
    assert result.outcome == "repaired" and result.model is not None
    name = "net.features.1.running_mean"
    assert not torch.equal(result.model.state_dict()[name], tiny.faulty.state_dict()[name])


def test_lenet5_gives_activations_poolings_and_hidden_layers() -> None:
    lenet = LeNet5(input_shape=(1, 28, 28), num_classes=10).eval()
    HUDD().check(TaskSpec(lenet, "image", 10, (1, 28, 28)))


def test_a_network_without_a_hidden_layer_is_unadaptable(problem: Problem) -> None:
    linear = nn.Sequential(nn.Flatten(), nn.Linear(64, 10)).eval()
    with pytest.raises(NotApplicable, match="no hidden layer"):
        HUDD().check(dataclasses.replace(problem.task, model=linear))
    HUDD().check(dataclasses.replace(problem.task, kind="table"))


def test_one_failing_input_all_of_one_class_and_a_batch_larger_than_the_split(problem: Problem) -> None:
    first = dataclasses.replace(problem, failing=problem.failing[:1])
    assert begun(first).causes.count == 1
    assert len(begun(first).bag) == 2
    labels = problem.repair_set.labels[problem.failing]
    one_class = dataclasses.replace(problem, failing=problem.failing[labels == labels.mode().values])
    assert run(one_class).outcome in ("repaired", "failure")
    assert run(problem, batch_size=100_000, epochs=2).costs["steps"] == 2


def test_identical_images_are_one_cluster_and_no_crash(problem: Problem) -> None:
    inputs, labels = problem.repair_set.tensors().inputs.clone(), problem.repair_set.labels.clone()
    first = problem.failing[0]
    inputs[problem.failing], labels[problem.failing] = inputs[first].clone(), labels[first].clone()
    identical = dataclasses.replace(problem, repair_set=Split("repair", inputs, labels))
    assert begun(identical).causes.count == 1
    assert run(identical).outcome in ("repaired", "failure")


def test_a_holdout_without_failing_inputs_is_no_repair(problem: Problem) -> None:
    outcomes = [
        run(dataclasses.replace(problem, failing=problem.failing[first : first + 1]), improvement="holdout")
        for first in range(6)
    ]
    reasons = [result.reason for result in outcomes if "leaves no failing input" in result.reason]
    assert 0 < len(reasons) < 6


def test_labels_outside_of_the_bag_and_of_the_failing_inputs_are_not_used(problem: Problem) -> None:
    labels = problem.repair_set.labels.clone()
    bag = begun(problem).bag
    labels[~torch.isin(torch.arange(len(labels)), bag)] = 10**6
    poisoned = dataclasses.replace(problem, repair_set=Split("repair", problem.repair_set.tensors().inputs, labels))
    assert same(run(poisoned).model, run(problem).model)


def test_the_picture_shows_the_clusters_above_their_heatmaps(problem: Problem) -> None:
    result, causes = run(problem), begun(problem).causes
    (axes,) = result.pictures["clusters"].axes
    captions = [label.get_text() for label in axes.get_yticklabels()]
    assert captions[0].startswith("cluster 1: ") and captions[1] == "relevance"
    assert len(captions) == 2 * min(12, causes.count)
    table = dataclasses.replace(problem, task=dataclasses.replace(problem.task, kind="table"))
    assert run(table).pictures == {}


def test_training_that_ruins_the_model_is_a_failure(problem: Problem) -> None:
    result = run(problem, lr=10.0, momentum=0.99)
    assert result.outcome == "failure" or math.isfinite(result.costs["repair_set_fixed"])
