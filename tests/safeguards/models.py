"""Repaired models to put safeguards around."""

from __future__ import annotations

import torch
from torch import nn

from study.problem.problem import Problem
from study.runtime.randomness import stream


def spoilt(problem: Problem, noise: float, seed: int = 0) -> nn.Module:
    """The faulty model with Gaussian noise on its parameters: some answers change, for better and for worse."""
    model, generator = problem.copy(), stream(seed, "noise")
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(noise * torch.randn(parameter.shape, generator=generator))
    return model.eval()
