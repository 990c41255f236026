"""A veto: the faulty model's answer stands unless every vote of the repaired model differs from it."""

from __future__ import annotations

from torch import nn

from study.errors import NotApplicable
from study.models.votes import UnanimousVote
from study.problem.problem import Problem
from study.problem.task import TaskSpec
from study.runtime.settings import settings
from study.safeguards.base import Safeguard


@settings
class Unanimity(Safeguard):
    """The repaired model votes on each input and on its mirror image; of a repaired `UnanimousVote` each voter does.

    flip: false leaves one view of each input, so that the repaired model answers alone.
    """

    flip: bool = True

    def check(self, task: TaskSpec) -> None:
        if self.flip and task.kind != "image":
            raise NotApplicable(
                f"unanimity needs images to mirror, and the inputs are {task.kind}: set safeguard.flip=false"
            )

    def guard(self, problem: Problem, repaired: nn.Module) -> nn.Module:
        if not self.flip:
            return repaired
        voters = list(repaired.voters) if isinstance(repaired, UnanimousVote) else [repaired]
        return UnanimousVote.of(problem.copy(), voters, flip=True).eval()
