"""Sub-models: their subsets, and training them together."""

from __future__ import annotations

import dataclasses
import itertools
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from study.parts.training.submodels import SubModelTraining, SubsetBatches
from study.parts.training.weight_shift import flat_weights
from study.problem.prediction import accuracy, right
from study.problem.problem import Problem
from study.runtime.randomness import stream
from study.storage.models import weights_hash
from tests.fitting import fitted
from tests.problems import digits_problem


def trained(problem: Problem, **options: Any) -> SubModelTraining:
    arguments: dict[str, Any] = {"number": 3, "per_class": 20, "epochs": 8, "lr": 3e-3, "start": "scratch"}
    stage = SubModelTraining(problem, **(arguments | options))
    fitted(stage)
    return stage


def test_subsets_are_balanced_without_repeats_and_differ() -> None:
    problem = digits_problem()
    stage = SubModelTraining(problem, number=4, per_class=7, epochs=1, lr=1e-3, start="scratch")
    assert stage.subsets.shape == (4, 70)
    for subset in stage.subsets:
        assert len(subset.unique()) == 70
        assert problem.train.labels[subset].bincount().tolist() == [7] * 10
    assert len({tuple(subset.sort().values.tolist()) for subset in stage.subsets}) == 4


@pytest.mark.parametrize(("size", "count"), [(128, 1), (129, 2), (300, 3), (1, 1)])
def test_a_pass_goes_over_each_subset_once_in_even_batches(size: int, count: int) -> None:
    subsets = torch.stack([torch.arange(size), torch.arange(size) + 1000])
    loader = SubsetBatches(subsets, stream(0, "batches"))
    first, second = (list(loader) for _ in range(2))
    assert len(first) == len(loader) == count
    sizes = [batch.shape[1] for batch in first]
    assert max(sizes) - min(sizes) <= 1
    assert torch.cat(first, dim=1).sort(1).values.equal(subsets)
    assert size == 1 or not torch.cat(first, dim=1).equal(torch.cat(second, dim=1))


def test_trained_together_they_are_the_same_as_one_by_one() -> None:
    together, apart = (trained(digits_problem(), stacked=stacked) for stacked in (True, False))
    torch.testing.assert_close(together.submodels.weights, apart.submodels.weights, atol=1e-4, rtol=1e-3)
    assert together.steps_taken == apart.steps_taken == 3 * 8 * 2


def test_a_small_subset_is_gone_over_more_often() -> None:
    stage = SubModelTraining(digits_problem(), number=2, per_class="auto", epochs="auto", lr=1e-3, start="scratch")
    assert len(stage.train_dataloader()) == 2
    assert stage.max_epochs == 100


def test_they_learn_and_differ() -> None:
    problem = digits_problem()
    stage = trained(problem)
    accuracies = [accuracy(model, problem.validation) for model in stage.submodels.models]
    assert all(0.5 < value < 0.98 for value in accuracies)
    assert len({weights_hash(model) for model in stage.submodels.models}) == 3
    assert not any(model.training for model in stage.submodels.models)


def test_says_which_of_them_are_right() -> None:
    problem = digits_problem(batch_norm=True)
    found = trained(problem).submodels
    few = problem.repair_set.subset(torch.arange(40))
    assert found.right(few).equal(torch.stack([right(model, few) for model in found.models]))
    assert found.weights.equal(torch.stack([flat_weights(model) for model in found.models]))


@pytest.mark.parametrize("batch_norm", [False, True])
def test_the_same_seed_gives_the_same_sub_models(batch_norm: bool) -> None:
    problem = digits_problem(batch_norm)
    first = trained(problem, epochs=1).submodels.weights
    torch.manual_seed(99)
    assert trained(problem, epochs=1).submodels.weights.equal(first)
    assert not trained(dataclasses.replace(problem, seed=1), epochs=1).submodels.weights.equal(first)


def test_they_may_start_from_the_faulty_weights() -> None:
    problem = dataclasses.replace(digits_problem(), make_model=None)
    weights = trained(problem, start="faulty", lr=1e-9, epochs=1).submodels.weights
    torch.testing.assert_close(weights, flat_weights(problem.faulty).expand(3, -1), atol=1e-6, rtol=0)


def test_else_each_starts_from_weights_of_its_own() -> None:
    problem = digits_problem()
    weights = trained(problem, lr=1e-9, epochs=1).submodels.weights
    for own in weights:
        assert (own - flat_weights(problem.faulty)).abs().max() > 0.05
    assert all((one - other).abs().max() > 0.05 for one, other in itertools.combinations(weights, 2))


class Dropping(nn.Module):
    """Draws from the global state at each training step."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Flatten(), nn.Dropout(0.5), nn.Linear(64, 10))

    def forward(self, inputs: Tensor) -> Tensor:
        logits: Tensor = self.layers(inputs)
        return logits


@pytest.mark.parametrize("stacked", [True, False])
def test_their_dropout_does_not_disturb_what_comes_after(stacked: bool) -> None:
    problem = dataclasses.replace(digits_problem(), make_model=Dropping)
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    first = trained(problem, epochs=2, stacked=stacked).submodels.weights
    assert torch.rand(3).equal(expected)
    assert trained(problem, epochs=2, stacked=stacked).submodels.weights.equal(first)
