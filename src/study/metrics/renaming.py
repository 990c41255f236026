"""Robustness of a network that reads programs: what it answers when local variables have other names."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated

import torch
from pydantic import Field, validate_call
from torch import Tensor, nn

from study.data.renaming import RENAMED
from study.data.threat import ThreatModel
from study.errors import NotApplicable
from study.metrics.description import Description
from study.metrics.measured import Measured
from study.metrics.sampling import Sample

ACCURACY, FLIPS = "renamed_accuracy", "renaming_flip_rate"


class RenamingRobustness:
    """Accuracy on functions whose local variables are renamed, and the share of right answers that this turns wrong.

    The functions do what they did, so their labels stay. Both models answer the same renamed inputs, of a sample of the
    test inputs. The idea is that of Yefet, Alon, Yahav, "Adversarial Examples for Models of Code", OOPSLA 2020, with
    names that are drawn in place of names that are searched for.

    Args:
        samples: test inputs at most.
        batch_size: inputs that are answered at a time.
    """

    # A plain class: OmegaConf takes instances of dataclasses in a configuration apart.
    @validate_call
    def __init__(
        self, *, samples: Annotated[int, Field(ge=1)] = 500, batch_size: Annotated[int, Field(ge=1)] = 250
    ) -> None:
        self.samples = samples
        self.batch_size = batch_size

    def descriptions(self) -> dict[str, Description]:
        """See `ModelMetrics.descriptions`."""
        accuracy = Description(
            label="accuracy, renamed",
            unit="rate",
            higher_is_better=True,
            meaning="accuracy on test functions whose parameters and local variables have other names",
            summary=False,
        )
        flips = Description(
            label="renaming flips",
            unit="rate",
            higher_is_better=False,
            meaning="of the functions that are classified right, the share that other local names turn wrong",
            summary=False,
        )
        return {ACCURACY: accuracy, FLIPS: flips}

    def measured(
        self,
        before: nn.Module,
        after: nn.Module,
        sample: Sample,
        threat: ThreatModel | None,
        generator: torch.Generator,
    ) -> Measured:
        """See `ModelMetrics.measured`."""
        if RENAMED not in sample.variants:
            raise NotApplicable("the inputs are no programs whose variables could be renamed")
        chosen = sample.drawn(self.samples, generator)
        inputs, target = sample.at(chosen)
        renamed = sample.variants[RENAMED](chosen, None).to(inputs.device)
        values: dict[str, dict[str, float]] = {ACCURACY: {}, FLIPS: {}}
        for when, model in (("before", before), ("after", after)):
            right, stays = (self._answers(model, each) == target for each in (inputs, renamed))
            if not right.any():
                raise NotApplicable("a model classifies no sampled function right")
            values[ACCURACY][when] = stays.double().mean().item()
            values[FLIPS][when] = (~stays[right]).double().mean().item()
        differ = int((inputs != renamed).flatten(1).any(1).sum())
        protocol = f"{len(chosen)} inputs, {differ} of which renaming changes"
        described = self.descriptions()
        described[FLIPS] = replace(described[FLIPS], summary=True)  # of programs alone: elsewhere nobody misses it
        return Measured.of_all(described, values, protocol)

    def _answers(self, model: nn.Module, inputs: Tensor) -> Tensor:
        """The classes [N] of inputs [N, L]."""
        with torch.inference_mode():
            return torch.cat([model(batch).argmax(dim=1) for batch in inputs.split(self.batch_size)])
