"""How a model in training stands against the faulty one: repairs, negative flips and accuracy."""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from study.problem.prediction import predict, right
from study.problem.problem import Problem


@dataclass(frozen=True)
class Standing:
    """Shares in [0, 1]: negative flips are counted on the validation split, repairs on the failing repair inputs."""

    validation_accuracy: float
    negative_flip_rate: float
    repair_rate: float

    def log(self) -> dict[str, float]:
        """The shares under the names of their curves."""
        return {
            "validation/accuracy": self.validation_accuracy,
            "validation/negative_flip_rate": self.negative_flip_rate,
            "repair_set/repair_rate": self.repair_rate,
        }


class Measure:
    """Compares a model with the faulty one, on the validation split and on the failing inputs of the repair split."""

    def __init__(self, problem: Problem) -> None:
        self._validation = problem.validation
        self._failing = problem.repair_set.subset(problem.failing)
        self._before = right(problem.faulty, problem.validation)

    def __call__(self, model: nn.Module) -> Standing:
        after = predict(model, self._validation).argmax(1) == self._validation.labels
        flips = (self._before & ~after).double().mean().item()
        fixed = right(model, self._failing).double().mean().item()
        return Standing(after.double().mean().item(), flips, fixed)
