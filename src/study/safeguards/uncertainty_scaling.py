"""The mean of both models' probabilities, after the faulty model is made as sharp as the repaired one."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn

from study.models.votes import SoftVote
from study.problem.prediction import predict
from study.problem.problem import Problem
from study.runtime.settings import settings
from study.safeguards.base import Safeguard, noted

log = logging.getLogger(__name__)


@settings
class UncertaintyScaling(Safeguard):
    """(softmax(faulty / T) + softmax(repaired)) / 2; T is fitted on the validation split without its labels.

    regulariser: factor of T ** 2 beside the mean squared error; starts: of the fit; low: where the fitted T is below
    it, T is fitted again without the regulariser.
    """

    regulariser: Annotated[float, Field(ge=0)] = 5e-4
    starts: Annotated[tuple[Annotated[float, Field(gt=0)], ...], Field(min_length=1)] = (1.0, 2.0, 3.0)
    low: Annotated[float, Field(ge=0)] = 0.8

    def guard(self, problem: Problem, repaired: nn.Module) -> nn.Module:
        before, after = predict(problem.faulty, problem.validation), predict(repaired, problem.validation)
        temperature = self.temperature(before, after)
        log.info("uncertainty_scaling: temperature %.3f, fitted on validation", temperature)
        return noted(SoftVote(problem.copy(), repaired, 0.5, temperature).eval(), temperature=temperature)

    def temperature(self, before: Tensor, after: Tensor) -> float:
        """T for two sets of logits [N, C] on the same inputs; 1 where no fit ends at a positive one."""
        found = best_fit(before, after, self.starts, self.regulariser)
        if found is not None and found < self.low:
            found = best_fit(before, after, self.starts, 0.0) or found
        if found is None:
            log.warning("uncertainty_scaling: no temperature could be fitted; the faulty model is left as it is")
        return 1.0 if found is None else found


def best_fit(before: Tensor, after: Tensor, starts: Sequence[float], regulariser: float) -> float | None:
    """Of the fits from each start, the positive T with the smallest mean squared error; None where no fit has one.

    Args:
        before, after: [N, C] logits on the same inputs.
    """
    logits, target = before.double(), after.double().softmax(1)
    fits = [fitted(logits, target, start, regulariser) for start in starts]
    positive = [temperature for temperature in fits if 0 < temperature < float("inf")]
    errors = {temperature: squared_error(logits, target, torch.tensor(temperature)).item() for temperature in positive}
    return min(positive, key=errors.__getitem__, default=None)


def fitted(logits: Tensor, target: Tensor, start: float, regulariser: float) -> float:
    """The T at which one step of LBFGS (20 iterations) from `start` ends; `target`: [N, C] probabilities.

    With a line search, which the authors' code has not: without one most starts above the least end far from it.
    """
    temperature = torch.tensor(start, dtype=logits.dtype, device=logits.device, requires_grad=True)
    optimizer = torch.optim.LBFGS([temperature], lr=1, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        optimizer.zero_grad()
        value = squared_error(logits, target, temperature) + regulariser * temperature**2
        value.backward()
        return value

    optimizer.step(loss)
    return temperature.item()


def squared_error(logits: Tensor, target: Tensor, temperature: Tensor) -> Tensor:
    """Mean over inputs and classes of (softmax(logits / T) - target) ** 2; a scalar."""
    return ((logits / temperature).softmax(1) - target).square().mean()
