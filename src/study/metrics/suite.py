"""The metrics of one job, composed by the `metric` group of the configuration."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import replace
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from study.data.threat import ThreatModel
from study.errors import NotApplicable
from study.metrics.base import Comparison, ModelMetric, ModelMetrics, descriptions_of
from study.metrics.description import Description
from study.metrics.measured import Measured
from study.metrics.sampling import Sample
from study.runtime.randomness import derived_seed, stream

log = logging.getLogger(__name__)


class Suite:
    """All that is measured before and after a repair.

    Args:
        comparisons: metrics computed from the logits of both models, by a name of the user's choice.
        attacks: metrics that run the models, likewise.
        resamples: bootstrap resamples of the test inputs behind each interval; 0: no intervals.

    Raises:
        ValueError: two metrics report under the same name, one describes itself wrongly, or `resamples` is negative.
    """

    # Rates of the two attacks that differ by more than this are explained by a masked gradient.
    MASKING_GAP: ClassVar[float] = 0.10

    def __init__(
        self,
        *,
        comparisons: Mapping[str, Comparison],
        attacks: Mapping[str, ModelMetric | ModelMetrics],
        resamples: int = 1000,
    ) -> None:
        if resamples < 0:
            raise ValueError(f"resamples is {resamples}; it takes 0 or more")
        self.resamples = resamples
        self.comparisons = dict(comparisons)
        self.attacks = dict(attacks)
        # A metric that describes itself wrongly is refused here, before any work.
        self._described = [descriptions_of(metric) for metric in (*comparisons.values(), *attacks.values())]
        names = [name for described in self._described for name in described]
        if repeated := {name for name in names if names.count(name) > 1}:
            raise ValueError(f"several metrics report as {', '.join(sorted(repeated))}: leave one of them out")

    @property
    def descriptions(self) -> dict[str, Description]:
        """What each metric says about itself, by the name it reports under; protocols are known once it has run."""
        return {name: description for described in self._described for name, description in described.items()}

    def measure(
        self, before: Tensor, after: Tensor, target: Tensor, groups: Tensor | None = None, seed: int = 0
    ) -> Measured:
        """Compares the two models' logits.

        Args:
            before: [N, C] of the faulty model.
            after: [N, C] of the repaired model.
            target: [N] long, the labels.
            groups: [N] long, from 0; None where the data set has none.
            seed: of the job; the resamples depend on it.
        """
        log.info("measuring on %d test inputs", len(target))
        measured = Measured()
        for metric in self.comparisons.values():
            metric.to(target.device).reset()
            try:
                metric.update(before, after, target, groups)
                values = {when: value.item() for when, value in metric.compute().items()}
            except NotApplicable as reason:
                measured |= Measured.without(metric.name, metric.describe(), str(reason))
            else:
                measured |= Measured.of(metric.name, metric.describe(), values, self._interval(metric, seed))
        return measured

    def _interval(self, metric: Comparison, seed: int) -> tuple[float, float] | None:
        """That of a metric which has just been computed."""
        if not self.resamples:
            return None
        return metric.interval(self.resamples, np.random.default_rng(derived_seed(seed, "bootstrap", metric.name)))

    def attack(
        self, before: nn.Module, after: nn.Module, sample: Sample, threat: ThreatModel | None, seed: int
    ) -> Measured:
        """Runs the attacks on both models, each on inputs that depend on the seed alone.

        Args:
            before: the faulty model, in eval mode.
            after: the repaired model, in eval mode.
            sample: the inputs to choose from.
            threat: what an attack may do to them; None where the data set does not define it.
            seed: of the job.
        """
        measured = Measured()
        for metric in self.attacks.values():
            try:
                # Every attack gets the same stream: two that draw alike attack the same inputs and can be compared.
                measured |= _measured(metric, before, after, sample, threat, stream(seed, "attack"))
            except NotApplicable as reason:
                for name, description in descriptions_of(metric).items():
                    measured |= Measured.without(name, description, str(reason))
        return measured

    @classmethod
    def gradient_masking(cls, values: Mapping[str, float]) -> bool:
        """Whether the repaired model seems robust only because its logits saturate.

        Args:
            values: what `attack` returned.

        Returns:
            True if the success rates of the two losses part by more than `MASKING_GAP`; False where one is missing.
        """
        rates = [values.get(f"after/{prefix}attack_success_rate") for prefix in ("", "margin_")]
        if rates[0] is None or rates[1] is None:
            return False
        # Rounded, since 0.8 - 0.7 is more than 0.1 in floating point.
        return round(abs(rates[0] - rates[1]), 9) > cls.MASKING_GAP


def _measured(
    metric: ModelMetric | ModelMetrics,
    before: nn.Module,
    after: nn.Module,
    sample: Sample,
    threat: ThreatModel | None,
    generator: torch.Generator,
) -> Measured:
    """What a metric that runs the models measures, with its protocol."""
    if isinstance(metric, ModelMetrics):
        return metric.measured(before, after, sample, threat, generator)
    values = metric.measure(before, after, sample, threat, generator)
    description = replace(metric.describe(), protocol=metric.protocol(sample, threat))
    return Measured.of(metric.name, description, values)
