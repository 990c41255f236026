"""Choosing among the failing and the passing inputs of the repair set."""

from __future__ import annotations

import torch
from torch import Tensor

from study.problem.prediction import predict
from study.problem.problem import Problem


def most_frequent_error(problem: Problem) -> Tensor:
    """The failing inputs ([M] int64) of the most frequent pair (label, prediction); ties: the first pair."""
    failing = problem.repair_set.subset(problem.failing)
    predicted = predict(problem.faulty, failing).argmax(1)
    pairs, kind = (failing.labels * problem.task.num_classes + predicted).unique(return_inverse=True)
    most_frequent = kind.bincount(minlength=len(pairs)).argmax()
    return problem.failing[kind == most_frequent]


def random_failing(problem: Problem, share: float, generator: torch.Generator) -> Tensor:
    """A random share of the failing inputs, at least one: [M] int64."""
    count = max(1, int(share * len(problem.failing)))
    order = torch.randperm(len(problem.failing), generator=generator)[:count]
    return problem.failing[order.to(problem.failing.device)]


def failing_sample(problem: Problem, count: int) -> Tensor:
    """Indices into the repair set of at most `count` failing inputs, drawn at random, in ascending order.

    A smaller sample is part of a larger one of the same seed.
    """
    return _drawn(problem.failing, count, problem.stream("points"))


def random_passing(problem: Problem, count: int | None, generator: torch.Generator) -> Tensor:
    """`count` passing inputs, each as likely as any other ([M] int64), ascending; all if there are no more, or None."""
    if count is None or count >= len(problem.passing):
        return problem.passing
    return _drawn(problem.passing, count, generator)


def _drawn(indices: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """At most `count` of the indices [M], each as likely as any other, in their order."""
    order = torch.randperm(len(indices), generator=generator)[:count]
    return indices[order.sort().values.to(indices.device)]


def passing_sample(problem: Problem, size: int, generator: torch.Generator) -> Tensor:
    """Some `size` passing inputs ([M] int64), stratified by class, at least one of each; all if there are no more."""
    passing = problem.passing
    if size >= len(passing):
        return passing
    labels = problem.repair_set.labels[passing]
    shuffled = torch.randperm(len(passing), generator=generator).to(passing.device)
    counts = labels.bincount()
    shares = (size * counts / len(passing)).round().long().clamp(min=1)
    members = [shuffled[labels[shuffled] == c][:share] for c, share in enumerate(shares.tolist())]
    return passing[torch.cat(members)]


def by_margin(problem: Problem, indices: Tensor) -> Tensor:
    """The repair inputs at `indices` [M], the hardest first: by the label's logit minus the largest other one."""
    chosen = problem.repair_set.subset(indices)
    logits, label = predict(problem.faulty, chosen), chosen.labels[:, None]
    margin = logits.gather(1, label)[:, 0] - logits.scatter(1, label, -torch.inf).amax(1)
    return indices[margin.argsort()]
