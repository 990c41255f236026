"""Small real problems for tests: scikit-learn's digits and networks trained on them in a second."""

from __future__ import annotations

import dataclasses
import math
from functools import lru_cache
from typing import Any

import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn

from study.data.split import Split
from study.data.threat import ThreatModel
from study.models.classifier import Classifier
from study.models.mlp import MLP
from study.problem.faulty import FaultyTraining
from study.problem.prediction import right
from study.problem.problem import Problem
from study.problem.recipe import Recipe
from study.problem.task import TaskSpec
from study.runtime.fit import Curves, fit
from study.runtime.hardware import Hardware
from study.runtime.randomness import forked, stream

HARDWARE = Hardware(threads=1, progress=False)
SHAPE = (1, 8, 8)
RECIPE = Recipe(epochs=12, optimizer="adam", lr=2e-3, batch_size=64, augmentation="none")


def digits_splits(seed: int = 0) -> dict[str, Split]:
    """Train 800, validation 197, repair 400, test 400 items, inputs [N, 1, 8, 8] in [0, 1]."""
    inputs, labels = _digits()
    order = torch.randperm(len(labels), generator=stream(seed, "split"))
    parts = zip(("train", "validation", "repair", "test"), order.split([800, 197, 400, 400]), strict=True)
    return {name: Split(name, inputs[indices], labels[indices]) for name, indices in parts}


@lru_cache
def _digits() -> tuple[Tensor, Tensor]:
    """All inputs and labels, which the splits are copies of; scikit-learn takes 20 ms to read them."""
    data = load_digits()
    return torch.tensor(data.images / 16, dtype=torch.float32).unsqueeze(1), torch.tensor(data.target)


def build(net: type[nn.Module] = MLP, **arguments: Any) -> Classifier:
    """A subject (normalise + net) for digits that can be stored and built again."""
    arguments = {"input_shape": SHAPE, "num_classes": 10} | arguments
    module = net(**arguments)
    module.blueprint = {"class": f"{net.__module__}.{net.__qualname__}", "arguments": arguments}
    return Classifier(module)


def problem_of(model: Classifier, splits: dict[str, Split], seed: int = 0, history: nn.Module | None = None) -> Problem:
    """The problem that a trained model poses on these splits."""
    correct = right(model.eval(), splits["repair"])
    return Problem(
        faulty=model,
        train=splits["train"],
        validation=splits["validation"],
        repair_set=splits["repair"],
        failing=(~correct).nonzero().flatten(),
        passing=correct.nonzero().flatten(),
        task=TaskSpec(model, "image", 10, SHAPE, has_history=history is not None, threat=ThreatModel(radius=0.1)),
        recipe=RECIPE,
        seed=seed,
        history=history,
        make_model=lambda: build(**dict(model.net.blueprint["arguments"])),
    )


@lru_cache
def _trained(batch_norm: bool, seed: int, epochs: int) -> tuple[Classifier, Classifier]:
    splits = digits_splits(seed)
    with forked(seed, "init"):
        model, before = build(batch_norm=batch_norm), build(batch_norm=batch_norm)
    recipe = dataclasses.replace(RECIPE, epochs=epochs)
    training = FaultyTraining(model, recipe, splits["train"], splits["validation"], seed)
    training.batches = splits["train"].batches(64, stream(seed, "b"))
    fit(training, HARDWARE, Curves())
    training.best.restore(model)
    before.load_state_dict(training.before or model.state_dict())
    return model.eval(), before.eval()


def digits_problem(batch_norm: bool = False, seed: int = 0, history: bool = True, epochs: int = 12) -> Problem:
    """An MLP 64-32 on digits, some 93 % right; cached, so do not change its model (approaches must not either)."""
    torch.set_num_threads(1)
    model, before = _trained(batch_norm, seed, epochs)
    return problem_of(model, digits_splits(seed), seed, before if history else None)


def same(one: nn.Module | None, other: nn.Module | None) -> bool:
    """Whether two models have the same weights and statistics, bit for bit."""
    assert one is not None and other is not None
    first, second = one.state_dict(), other.state_dict()
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in second)


def with_passing_spoilt(problem: Problem) -> Problem:
    """The problem with passing repair inputs and labels that spoil any result they enter."""
    inputs, labels = problem.repair_set.tensors().inputs.clone(), problem.repair_set.labels.clone()
    inputs[problem.passing], labels[problem.passing] = math.nan, 10**6
    return dataclasses.replace(problem, repair_set=Split("repair", inputs, labels))
