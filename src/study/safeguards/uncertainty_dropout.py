"""Both models weighed by how much their answers waver when units before the last layer are dropped."""

from __future__ import annotations

from typing import Annotated

import torch
from pydantic import Field
from torch import nn

from study.errors import NotApplicable
from study.models.uncertain_votes import DropoutVote
from study.parts.network.layers import output_layer
from study.problem.problem import Problem
from study.problem.task import TaskSpec
from study.runtime.settings import settings
from study.safeguards.alike import check_alike
from study.safeguards.uncertainty import UncertaintyVoting


@settings
class UncertaintyDropout(UncertaintyVoting):
    """Inverted dropout on what enters the Linear layer that gives the logits, the same masks for all inputs.

    Each model has masks of its own; dropout layers of the network stay off. rate: share of units that is dropped.
    """

    rate: Annotated[float, Field(ge=0, lt=1)] = 0.2

    def check(self, task: TaskSpec) -> None:
        try:
            output_layer(task.model, task.example(2))
        except NotApplicable as reason:
            raise NotApplicable(f"uncertainty_dropout drops what enters the last layer, and {reason}") from reason

    def guard(self, problem: Problem, repaired: nn.Module) -> nn.Module:
        check_alike("uncertainty_dropout", problem.faulty, repaired)
        layer = output_layer(problem.faulty, problem.validation.fetch(torch.arange(2)).inputs)
        vote = DropoutVote(problem.copy(), repaired, layer, self.passes, self.prior, self.least_variance)
        kept = torch.rand(vote.masks.shape, generator=problem.stream("safeguard")) >= self.rate
        vote.masks.copy_(kept / (1 - self.rate))
        return vote.to(problem.device).eval()
