"""Both models weighed by how much their answers waver when the input is perturbed."""

from __future__ import annotations

from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn

from study.errors import NotApplicable
from study.models.classifier import Normalise
from study.models.uncertain_votes import PerturbationVote
from study.problem.problem import Problem
from study.problem.task import TaskSpec
from study.runtime.settings import settings
from study.safeguards.uncertainty import UncertaintyVoting


@settings
class UncertaintyPerturbation(UncertaintyVoting):
    """Gaussian noise is added to the input, the same draws for both models and for all inputs.

    sigma: standard deviation of the noise, of inputs as the network sees them: where they are normalised first, the
    noise is as many times their standard deviation.
    """

    sigma: Annotated[float, Field(ge=0)] = 0.01

    def check(self, task: TaskSpec) -> None:
        if task.kind == "tokens":
            raise NotApplicable("uncertainty_perturbation adds noise to inputs, and the inputs are tokens")

    def guard(self, problem: Problem, repaired: nn.Module) -> nn.Module:
        shape = problem.task.input_shape
        vote = PerturbationVote(problem.copy(), repaired, shape, self.passes, self.prior, self.least_variance)
        draws = torch.randn(self.passes, *shape, generator=problem.stream("safeguard"))
        vote.noise.copy_(self.sigma * draws * _unit(problem.faulty).cpu())
        return vote.to(problem.device).eval()


def _unit(model: nn.Module) -> Tensor:
    """The standard deviation by which a model divides its inputs, to be broadcast over one; 1 if it does not."""
    normalise = getattr(model, "normalise", None)
    return normalise.std if isinstance(normalise, Normalise) else torch.ones(1)
