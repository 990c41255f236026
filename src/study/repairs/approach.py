"""The contract of an approach: a value with hyperparameters, a check of the task, and one generator that repairs."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Mapping
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field
from torch import Tensor, nn

from study.problem.problem import Problem
from study.problem.task import TaskSpec
from study.runtime.fit import Stage
from study.runtime.settings import settings

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Level = Literal["model", "layer", "neuron"]
Seconds = Annotated[float, Field(gt=0)] | None
"""Wall-clock budget of a repair; running over it is the outcome `corrupted`. None: no limit."""
Log = Mapping[str, float | Tensor]
"""What to log after a round, by name; the entry `step`, if there is one, is the place of the points on their curves."""


class Repaired:
    """What a repair returns.

    model: the repaired model, with the call signature of the faulty one and no tensor of its; costs: what the repair
    used or counted beside time and memory, by name (tracked as `cost/NAME`; gradient steps of trainings are counted
    anyway); pictures: draws figures to keep, by name, when the clock has stopped.
    """

    def __init__(
        self,
        model: nn.Module,
        costs: Mapping[str, float | Tensor] = {},
        pictures: Callable[[], Mapping[str, Figure]] = dict,
    ) -> None:
        self.model, self.costs, self.pictures = model, costs, pictures


Repair = Generator[Stage | Log, None, Repaired]
"""A repair in progress. It yields a training, which is fitted before the generator goes on, or a dictionary of what to
log after a round (a generation, a linear program); it returns the repaired model."""


@settings
class Approach(ABC):
    """An approach: a frozen value whose fields are its hyperparameters.

    Class attributes: `level`; `source`, the paper; `unchanged_is_result`, whether a model that repairs no failing input
    counts as a result instead of a failure.
    """

    level: ClassVar[Level]
    source: ClassVar[str]
    unchanged_is_result: ClassVar[bool] = False

    max_seconds: Seconds = None

    def check(self, task: TaskSpec) -> None:
        """Look at the task alone, before the faulty model is trained.

        Raises NotApplicable where this approach cannot repair it.
        """
        return

    @abstractmethod
    def repair(self, problem: Problem) -> Repair:
        """Repair `problem.faulty`, step by step; raises RepairFailed where it ends without a repaired model."""
