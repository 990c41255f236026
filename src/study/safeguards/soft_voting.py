"""A weighted mean of both models' probabilities, at a given weight or at one fitted to a limit of negative flips."""

from __future__ import annotations

import logging
from typing import Annotated, Literal

from pydantic import Field
from torch import Tensor, nn

from study.models.votes import SoftVote, mixed
from study.problem.prediction import predict
from study.problem.problem import Problem
from study.runtime.settings import settings
from study.safeguards.base import Safeguard, noted

GRID = [step / 20 for step in range(20)]
"""Weights of the faulty model that are tried: 0, 0.05, .. 0.95."""

log = logging.getLogger(__name__)


@settings
class SoftVoting(Safeguard):
    """tau * softmax(faulty) + (1 - tau) * softmax(repaired).

    tau: in (0, 1), or `auto`: the smallest that keeps to the limit; where that is 0 the repaired model answers alone.
    nfr_max: of `auto`, the rate of negative flips aimed at on unseen inputs; on the validation split half of it is
    allowed, because that is small.
    """

    tau: Annotated[float, Field(gt=0, lt=1)] | Literal["auto"] = 0.5
    nfr_max: Annotated[float, Field(ge=0, le=1)] = 0.003

    def guard(self, problem: Problem, repaired: nn.Module) -> nn.Module:
        if self.tau != "auto":
            return SoftVote(problem.copy(), repaired, self.tau).eval()
        tau = self._fitted(problem, repaired)
        return noted(SoftVote(problem.copy(), repaired, tau).eval() if tau > 0 else repaired, tau=tau)

    def _fitted(self, problem: Problem, repaired: nn.Module) -> float:
        validation = problem.validation
        before, after = predict(problem.faulty, validation), predict(repaired, validation)
        tau = smallest_tau(before, after, validation.labels, self.nfr_max / 2)
        log.info("soft_voting: tau %.2f, chosen on validation", tau)
        return tau


def smallest_tau(before: Tensor, after: Tensor, labels: Tensor, limit: float) -> float:
    """The smallest weight of the faulty model in `GRID` at which the vote's rate of negative flips is at most `limit`.

    Args:
        before, after: [N, C] logits on the same inputs.
        labels: [N] int64.
        limit: in [0, 1].

    Returns:
        The largest weight of the grid where none keeps to the limit.
    """
    was_right = before.argmax(1) == labels
    for tau in GRID:
        logits = mixed(before, after, tau) if tau else after
        if (was_right & (logits.argmax(1) != labels)).double().mean().item() <= limit:
            return tau
    return GRID[-1]
