"""Training again with another seed, the floor of negative flips."""

from __future__ import annotations

import dataclasses

import torch
from torch import nn
from torch.nn import functional

from study.data.split import Split
from study.methods.model_level.retrained import Retrained
from study.problem.prediction import accuracy, predict
from study.problem.problem import Problem
from study.runtime.randomness import stream
from tests.fitting import finished
from tests.problems import RECIPE, digits_problem, same


def by_hand(problem: Problem, epochs: int) -> list[nn.Module]:
    """The network after each epoch of a bare loop over the recipe, from the same initialisation and batches."""
    seed = problem.seed_of("retrained")
    model = problem.fresh(seed)
    assert model is not None
    optimizer = torch.optim.Adam(model.train().parameters(), float(problem.recipe.lr), fused=True)
    loader = problem.train.batches(64, stream(seed, "faulty", "batches"))
    states = []
    for _ in range(epochs):
        for batch in loader:
            optimizer.zero_grad()
            functional.cross_entropy(model(batch.inputs), batch.labels).backward()
            optimizer.step()
        states.append({name: tensor.clone() for name, tensor in model.state_dict().items()})
    kept = []
    for state in states:
        copy = problem.copy()
        copy.load_state_dict(state)
        kept.append(copy.eval())
    return kept


def test_equals_a_bare_loop_over_the_recipe_and_keeps_the_best_epoch() -> None:
    recipe = dataclasses.replace(RECIPE, epochs=3, lr=2e-2)
    problem = dataclasses.replace(digits_problem(), recipe=recipe)
    result = finished(Retrained(), problem)
    models = by_hand(problem, 3)
    scores = [accuracy(model, problem.validation) for model in models]
    assert scores.index(max(scores)) == 1  # the last epoch is worse than the one before it
    assert same(result.model, models[1]) and not same(result.model, models[2])
    assert [value for _, value in result.curves["validation/accuracy"]] == scores
    assert result.costs["steps"] == 3 * 13  # 800 items in batches of 64


def test_it_is_another_model_that_is_about_as_good() -> None:
    problem = digits_problem()
    model = finished(Retrained(), problem).model
    assert model is not None
    old, new = (predict(net, problem.validation).argmax(1) for net in (problem.faulty, model))
    labels = problem.validation.labels
    assert abs((old == labels).double().mean() - (new == labels).double().mean()) < 0.05
    assert 0 < (old != new).double().mean() < 0.15


def test_the_seed_of_the_job_gives_the_other_seed() -> None:
    problem = digits_problem()
    models = [finished(Retrained(), dataclasses.replace(problem, seed=seed)).model for seed in (0, 0, 1)]
    assert same(models[0], models[1]) and not same(models[0], models[2])


def test_what_it_repairs_does_not_matter() -> None:
    problem = digits_problem()
    spoilt = Split("repair", problem.repair_set.tensors().inputs, problem.repair_set.labels + 10)  # what nobody says
    result = finished(Retrained(), dataclasses.replace(problem, repair_set=spoilt, failing=problem.failing[:1]))
    assert result.outcome == "repaired"


def test_a_module_that_cannot_be_built_again_is_refused() -> None:
    result = finished(Retrained(), dataclasses.replace(digits_problem(), make_model=None))
    assert result.outcome == "unadaptable"
    assert "newly initialised" in result.reason
