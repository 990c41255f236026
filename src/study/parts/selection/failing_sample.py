"""Drawing some of the failing repair inputs."""

from __future__ import annotations

import torch
from torch import Tensor

from study.problem.problem import Problem


def failing_sample(problem: Problem, count: int) -> Tensor:
    """Indices into the repair set of at most `count` failing inputs, drawn at random, in ascending order.

    A smaller sample is part of a larger one of the same seed.
    """
    drawn = torch.randperm(len(problem.failing), generator=problem.stream("points"))[:count]
    return problem.failing[drawn.sort().values.to(problem.failing.device)]
