"""How far a repair has come: repairs, negative flips and accuracy over the gradient steps, and a picture of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from torch import nn

from study.problem.prediction import predict, right
from study.problem.problem import Problem

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Point = tuple[int, float]


@dataclass(frozen=True)
class Standing:
    """How a model stands: negative flips are counted on validation, repairs on the failing repair inputs."""

    validation_accuracy: float
    negative_flip_rate: float
    repair_rate: float

    def log(self) -> dict[str, float]:
        """Under the names of the curves."""
        return {
            "validation/accuracy": self.validation_accuracy,
            "validation/negative_flip_rate": self.negative_flip_rate,
            "repair_set/repair_rate": self.repair_rate,
        }


class Measure:
    """Compares a model in training with the faulty one, on the validation and the repair split."""

    def __init__(self, problem: Problem) -> None:
        self._validation = problem.validation
        self._failing = problem.repair_set.subset(problem.failing)
        self._before = right(problem.faulty, problem.validation)

    def __call__(self, model: nn.Module) -> Standing:
        after = predict(model, self._validation).argmax(1) == self._validation.labels
        flips = (self._before & ~after).double().mean().item()
        fixed = right(model, self._failing).double().mean().item()
        return Standing(after.double().mean().item(), flips, fixed)


@dataclass
class Panel:
    """One quantity over the gradient steps; marks: names of further points, each drawn with a symbol of its own."""

    title: str
    points: list[Point] = field(default_factory=list)
    marks: Mapping[str, Sequence[Point]] = field(default_factory=dict)


SYMBOLS = ("^", "x", "o", "s")


def drawn(panels: Sequence[Panel]) -> Figure:
    """The panels one below the other, over one axis of gradient steps; rates in percent."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 2 * len(panels)), layout="constrained")
    for axes, panel in zip(figure.subplots(len(panels), 1, sharex=True, squeeze=False)[:, 0], panels, strict=True):
        axes.plot([step for step, _ in panel.points], [100 * rate for _, rate in panel.points], color="tab:blue")
        for (name, marks), symbol in zip(panel.marks.items(), SYMBOLS, strict=False):
            if marks:
                steps, rates = zip(*marks, strict=True)
                axes.plot(steps, [100 * rate for rate in rates], symbol, color="tab:orange", label=name, zorder=3)
        axes.set_title(panel.title, loc="left", fontsize=10)
        axes.set_ylabel("%")
        axes.grid(alpha=0.3)
        if axes.get_legend_handles_labels()[0]:
            axes.legend(fontsize=8)
    axes.set_xlabel("gradient steps")
    return figure
