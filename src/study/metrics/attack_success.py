"""Attack success rate: how easily small changes of an input turn a right answer wrong."""

import torch
from torch import nn

from study.data.threat import ThreatModel
from study.errors import NotApplicable
from study.metrics.description import Description
from study.metrics.robustness import LinfPGD, limits
from study.metrics.sampling import Sample, draw_sample
from study.runtime.progress import Progress


class AttackSuccess(LinfPGD):
    """Of the inputs that both models classify right, the share that L-infinity PGD turns wrong.

    Both models are attacked on the same sample from the same starts. With `loss=margin` saturated logits cannot mask
    the gradient; the two rates side by side tell a robust model from one that only hides its gradient.
    """

    @property
    def name(self) -> str:
        """Names the rate after the loss; the cross-entropy attack is the usual one and has no prefix."""
        return "margin_attack_success_rate" if self.loss == "margin" else "attack_success_rate"

    def describe(self) -> Description:
        """See `ModelMetric.describe`."""
        usual = self.loss == "cross_entropy"
        return Description(
            label="ASR" if usual else "margin ASR",
            unit="rate",
            higher_is_better=False,
            meaning="attack success rate of PGD with cross-entropy, on inputs that both models get right"
            if usual
            else "attack success rate of PGD with the logit-margin loss, which saturated outputs cannot fool",
            maskable=usual,
        )

    def protocol(self, sample: Sample, threat: ThreatModel | None) -> str:
        """See `ModelMetric.protocol`."""
        radius = limits(threat, self.epsilon, sample.inputs).radius
        count = min(self.samples, int(sample.right.sum()))
        loss = self.loss.replace("_", "-")
        return f"PGD, {loss} loss, L-infinity radius {radius:g}, {self.steps} steps, {count} inputs"

    def measure(
        self,
        before: nn.Module,
        after: nn.Module,
        sample: Sample,
        threat: ThreatModel | None,
        generator: torch.Generator,
    ) -> dict[str, float]:
        """The rate "before" and "after". See `ModelMetric.measure`."""
        threat = limits(threat, self.epsilon, sample.inputs)
        chosen = draw_sample(sample.right.nonzero().squeeze(1), self.samples, generator)
        if len(chosen) == 0:
            raise NotApplicable("there is no input that both models get right")
        starts = generator.get_state()
        rates = {}
        inputs, target = sample.inputs[chosen], sample.target[chosen]
        with Progress(f"attack ({self.describe().label})", 2 * self.steps_for(len(chosen))) as progress:
            for when, model in (("before", before), ("after", after)):
                generator.set_state(starts)
                fooled = self.attack(model, inputs, target, threat, generator, progress)
                rates[when] = fooled.double().mean().item()
        return rates
