"""Accuracy on corrupted images: noise, blur, contrast and brightness in place of an attacker."""

from dataclasses import replace
from statistics import fmean
from typing import Annotated

import torch
from pydantic import Field, validate_call
from torch import Tensor, nn

from study.data.threat import ThreatModel
from study.errors import NotApplicable
from study.metrics.corruptions import CORRUPTIONS, SEVERITIES, Corruption
from study.metrics.description import Description
from study.metrics.measured import Measured
from study.metrics.sampling import Sample
from study.runtime.progress import Progress

MEAN = "corruption_accuracy"


class CorruptionAccuracy:
    """Accuracy under each corruption, as the mean over its severities, and the mean over all corruptions.

    Both models answer the same corrupted images of a sample of the test inputs, right or wrong.

    Args:
        samples: test inputs at most.
        batch_size: images that are corrupted and classified at a time.
    """

    # A plain class: OmegaConf takes instances of dataclasses in a configuration apart.
    @validate_call
    def __init__(
        self, *, samples: Annotated[int, Field(ge=1)] = 500, batch_size: Annotated[int, Field(ge=1)] = 500
    ) -> None:
        self.samples = samples
        self.batch_size = batch_size

    def descriptions(self) -> dict[str, Description]:
        """See `ModelMetrics.descriptions`."""
        mean = Description(
            label="corruption accuracy",
            unit="rate",
            higher_is_better=True,
            meaning="accuracy on corrupted test images: mean over noise, blur, contrast and brightness",
        )
        single = {
            f"{name}_accuracy": replace(
                mean,
                label=f"accuracy, {name.replace('_', ' ')}",
                meaning=f"accuracy on test images under {name.replace('_', ' ')}",
                summary=False,
            )
            for name in CORRUPTIONS
        }
        return {MEAN: mean, **single}

    def measured(
        self,
        before: nn.Module,
        after: nn.Module,
        sample: Sample,
        threat: ThreatModel | None,
        generator: torch.Generator,
    ) -> Measured:
        """See `ModelMetrics.measured`."""
        _check(sample.inputs)
        chosen = sample.drawn(self.samples, generator)
        with Progress("corrupted images", len(CORRUPTIONS), "corruptions") as progress:
            rates = {}
            for name, corruption in CORRUPTIONS.items():
                rates[f"{name}_accuracy"] = self._rates(corruption, before, after, *sample.at(chosen), generator)
                progress.advance()
        rates[MEAN] = {when: fmean(rate[when] for rate in rates.values()) for when in ("before", "after")}
        protocol = f"{len(SEVERITIES)} severities, {len(chosen)} inputs"
        return Measured.of_all(self.descriptions(), rates, protocol)

    def _rates(
        self,
        corruption: Corruption,
        before: nn.Module,
        after: nn.Module,
        inputs: Tensor,
        target: Tensor,
        generator: torch.Generator,
    ) -> dict[str, float]:
        """Accuracy of both models over all severities."""
        right = {"before": 0, "after": 0}
        with torch.inference_mode():
            for severity in SEVERITIES:
                for images, labels in zip(inputs.split(self.batch_size), target.split(self.batch_size), strict=True):
                    corrupted = corruption(images, severity, generator)
                    for when, model in (("before", before), ("after", after)):
                        right[when] += int((model(corrupted).argmax(dim=1) == labels).sum())
        return {when: number / (len(SEVERITIES) * len(target)) for when, number in right.items()}


def _check(inputs: Tensor) -> None:
    """Raises NotApplicable where the inputs [N, ...] are no images [N, c, h, w] in [0, 1]."""
    if inputs.dim() != 4 or not inputs.is_floating_point():
        raise NotApplicable("the inputs are not images")
    if len(inputs) and not (inputs.amin() >= 0 and inputs.amax() <= 1):
        raise NotApplicable("the images do not lie in [0, 1]")
