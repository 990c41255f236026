"""The contracts of a metric: `Comparison` reads the logits of both models, the two others run the models."""

from abc import abstractmethod
from collections.abc import Mapping
from typing import ClassVar, Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor, nn
from torchmetrics import Metric

from study.data.threat import ThreatModel
from study.errors import NotApplicable
from study.metrics.description import Description, Role, Unit
from study.metrics.measured import Measured
from study.metrics.sampling import Sample


def is_right(logits: Tensor, target: Tensor) -> Tensor:
    """Which inputs are classified as their label says.

    Args:
        logits: [N, C].
        target: [N] long.

    Returns:
        [N] bool.

    >>> is_right(torch.tensor([[2.0, 1.0], [2.0, 1.0]]), torch.tensor([0, 1]))
    tensor([ True, False])
    """
    return logits.argmax(dim=1) == target


def check_gradient(*models: nn.Module) -> None:
    """Raise NotApplicable where a model, or a part of one, states in `no_gradient` why an attack cannot follow it."""
    for part in (part for model in models for part in model.modules()):
        if reason := getattr(part, "no_gradient", ""):
            raise NotApplicable(reason)


class Comparison(Metric):
    """A property computed from the logits of both models on the same inputs.

    A subclass has a `name` and describes itself by the class attributes below it, whose meaning is that of the fields
    of `Description`; it declares its states with their reduction and counts in `update`; batches may come in any
    number. The label is the name in words unless it is stated.
    """

    name: ClassVar[str]
    label: ClassVar[str] = ""
    unit: ClassVar[Unit] = "number"
    higher_is_better: bool | None = None
    meaning: ClassVar[str] = ""
    protocol: ClassVar[str] = ""
    summary: ClassVar[bool] = True
    role: ClassVar[Role | None] = None
    full_state_update: bool = False

    @abstractmethod
    def update(self, before: Tensor, after: Tensor, target: Tensor, groups: Tensor | None = None) -> None:
        """Counts one batch.

        Args:
            before: [N, C] logits of the faulty model.
            after: [N, C] logits of the repaired model.
            target: [N] long, the labels.
            groups: [N] long, from 0, the sensitive group of each input; None where the data set has none.

        Raises:
            NotApplicable: the metric is not defined for such data.
        """

    @abstractmethod
    def compute(self) -> dict[str, Tensor]:
        """The scalars "before" and "after" (a property of the change: "after" alone).

        Raises:
            NotApplicable: the metric is not defined for what was counted.
        """

    def interval(self, resamples: int, generator: np.random.Generator) -> tuple[float, float] | None:
        """Where "after" lies with 95 % confidence, were other test inputs drawn: the percentile bootstrap's interval.

        None where the metric has none, or where no resample differs (a share of 0 or 1): that is no certainty.
        """
        return None

    def describe(self) -> Description:
        """What the metric says about itself."""
        return Description(
            label=self.label or self.name.replace("_", " "),
            unit=self.unit,
            higher_is_better=self.higher_is_better,
            meaning=self.meaning,
            protocol=self.protocol,
            summary=self.summary,
            role=self.role,
        )

    def add_count(self, state: str) -> None:
        """Declares an integer state that starts at 0 and is summed over batches and processes."""
        self.add_state(state, default=torch.tensor(0), dist_reduce_fx="sum")


class ModelMetric(Protocol):
    """A property that needs the models, not just their logits: an attack."""

    @property
    def name(self) -> str: ...

    def describe(self) -> Description:
        """What the metric says about itself, without its protocol."""
        ...

    def protocol(self, sample: Sample, threat: ThreatModel | None) -> str:
        """How `measure`, which has just run, treated this sample: attack, loss, norm, radius, steps, inputs."""
        return ""

    def measure(
        self,
        before: nn.Module,
        after: nn.Module,
        sample: Sample,
        threat: ThreatModel | None,
        generator: torch.Generator,
    ) -> dict[str, float]:
        """Measures both models on the same inputs.

        Args:
            before: the faulty model, in eval mode.
            after: the repaired model, in eval mode.
            sample: the inputs to choose from.
            threat: what an attack may do to them; None where the data set does not define it.
            generator: on the CPU; the only source of randomness.

        Returns:
            "before" and "after".

        Raises:
            NotApplicable: the metric is not defined for such inputs.
        """
        ...


@runtime_checkable
class ModelMetrics(Protocol):
    """Several properties out of one costly run of the models, by the name that each reports under."""

    def descriptions(self) -> Mapping[str, Description]:
        """What each says about itself, without its protocol."""
        ...

    def measured(
        self,
        before: nn.Module,
        after: nn.Module,
        sample: Sample,
        threat: ThreatModel | None,
        generator: torch.Generator,
    ) -> Measured:
        """All of them, with their protocols; the arguments and errors are those of `ModelMetric.measure`."""
        ...


def descriptions_of(metric: Comparison | ModelMetric | ModelMetrics) -> Mapping[str, Description]:
    """What a metric says about each property that it measures, by the name that it reports under."""
    return metric.descriptions() if isinstance(metric, ModelMetrics) else {metric.name: metric.describe()}
