"""How long a model takes to answer: what a repair that puts something beside the network costs at every use."""

import time
from dataclasses import replace
from statistics import median
from typing import Annotated

import torch
from pydantic import Field, validate_call
from torch import Tensor, nn

from study.data.threat import ThreatModel
from study.metrics.description import Description
from study.metrics.measured import Measured
from study.metrics.sampling import Sample

SECONDS, RATIO = "inference_time", "inference_time_ratio"


class InferenceTime:
    """Median time of one pass over the same inputs, and the repaired model's as a multiple of the faulty one's.

    The models take turns, pass by pass, so that what else the machine does falls on both; a first pass of each does
    not count.

    Args:
        samples: test inputs at most, run as one batch.
        passes: how many are timed of each model.
    """

    # A plain class: OmegaConf takes instances of dataclasses in a configuration apart.
    @validate_call
    def __init__(self, *, samples: Annotated[int, Field(ge=1)] = 500, passes: Annotated[int, Field(ge=1)] = 15) -> None:
        self.samples = samples
        self.passes = passes

    def descriptions(self) -> dict[str, Description]:
        """See `ModelMetrics.descriptions`."""
        seconds = Description(
            label="inference time",
            unit="seconds",
            higher_is_better=False,
            meaning="time in which a model answers a batch of test inputs",
            summary=False,
        )
        ratio = replace(
            seconds,
            label="inference time / before",
            unit="number",
            meaning="time in which the repaired model answers, as a multiple of the faulty model's",
        )
        return {SECONDS: seconds, RATIO: ratio}

    def measured(
        self,
        before: nn.Module,
        after: nn.Module,
        sample: Sample,
        threat: ThreatModel | None,
        generator: torch.Generator,
    ) -> Measured:
        """See `ModelMetrics.measured`."""
        chosen = sample.drawn(self.samples, generator)
        inputs = sample.inputs[chosen]
        taken: dict[str, list[float]] = {"before": [], "after": []}
        for turn in range(self.passes + 1):
            for when, model in (("before", before), ("after", after)):
                seconds = seconds_of(model, inputs)
                if turn:
                    taken[when].append(seconds)
        times = {when: median(values) for when, values in taken.items()}
        values = {SECONDS: times, RATIO: {"after": times["after"] / times["before"]}}
        protocol = f"one batch of {len(chosen)} inputs, median of {self.passes} passes"
        return Measured.of_all(self.descriptions(), values, protocol)


def seconds_of(model: nn.Module, inputs: Tensor) -> float:
    """Wall-clock seconds of one pass over inputs [N, ...], to its end on a GPU as well."""
    start = time.perf_counter()
    with torch.inference_mode():
        model(inputs)
    if inputs.is_cuda:
        torch.cuda.synchronize(inputs.device)
    return time.perf_counter() - start
