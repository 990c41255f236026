"""What small changes of an input do to both models: attack success rate, accuracy under attack, flips of robustness."""

from dataclasses import replace

import torch
from torch import Tensor, nn

from study.data.threat import ThreatModel
from study.errors import NotApplicable
from study.metrics.base import check_gradient
from study.metrics.description import Description
from study.metrics.measured import Measured
from study.metrics.robustness import NORMS, PGD, limits
from study.metrics.sampling import Sample, draw_sample
from study.runtime.progress import Progress

RATE, ACCURACY, FLIPS = "attack_success_rate", "pgd_accuracy", "robustness_negative_flip_rate"


class AttackSuccess(PGD):
    """Three properties of one PGD attack on both models, on the same inputs from the same starts.

    The attack success rate is that of the study: of the inputs that both models classify right (up to `samples`), the
    share that the attack turns wrong. As large a share of the other test inputs is drawn beside them, so that together
    they are a sample of all; of these a model is attacked only on what it gets right, which a repair flipped. On that
    sample an input is robust that is right and stays right: the share of robust inputs, and the share that was robust
    before and is not after (which the success rate cannot see where the repaired model is wrong to begin with).

    With `loss=margin` saturated logits cannot mask the gradient; the two rates side by side tell a robust model from
    one that only hides its gradient. Names and labels say loss and norm; cross-entropy and L-infinity are the usual.
    """

    @property
    def prefix(self) -> str:
        """What the names begin with."""
        return ("l2_" if self.norm == "l2" else "") + ("margin_" if self.loss == "margin" else "")

    def descriptions(self) -> dict[str, Description]:
        """See `ModelMetrics.descriptions`."""
        label = self.prefix.replace("_", " ").replace("l2", "L2")
        usual = self.loss == "cross_entropy"
        how = "cross-entropy" if usual else "the logit-margin loss, which saturated outputs cannot fool"
        under = f"PGD with {how}"
        rate = Description(
            label=f"{label}ASR",
            unit="rate",
            higher_is_better=False,
            meaning=f"attack success rate of PGD with {how}{', on inputs that both models get right' if usual else ''}",
            maskable=usual,
        )
        accuracy = Description(
            label=f"{label}PGD accuracy",
            unit="rate",
            higher_is_better=True,
            meaning=f"share of test inputs that are right and stay right under {under}",
            summary=False,
            maskable=usual,
        )
        flips = Description(
            label=f"{label}robustness negative flips",
            unit="rate",
            higher_is_better=False,
            meaning=f"share of test inputs that stayed right before, and do not afterwards, under {under}",
            summary=False,
            maskable=usual,
        )
        return {self.prefix + name: text for name, text in ((RATE, rate), (ACCURACY, accuracy), (FLIPS, flips))}

    def measured(
        self,
        before: nn.Module,
        after: nn.Module,
        sample: Sample,
        threat: ThreatModel | None,
        generator: torch.Generator,
    ) -> Measured:
        """See `ModelMetrics.measured`."""
        check_gradient(before, after)
        threat = limits(threat, self.epsilon, sample.inputs, self.norm)
        both, others = sample.right.nonzero().squeeze(1), (~sample.right).nonzero().squeeze(1)
        chosen = draw_sample(both, self.samples, generator)
        if len(chosen) == 0:
            raise NotApplicable("there is no input that both models get right")
        starts = generator.get_state()
        beside = draw_sample(others, round(len(others) * len(chosen) / len(both)), generator)
        rates, robust = {}, {}
        steps = 2 * (self.steps_for(len(chosen)) + self.steps_for(len(beside)))
        with Progress(f"attack ({self.descriptions()[self.prefix + RATE].label})", steps) as progress:
            for when, model in (("before", before), ("after", after)):
                generator.set_state(starts)
                fooled = self.attack(model, *sample.at(chosen), threat, generator, progress)
                stay = self._robust(model, *sample.at(beside), threat, generator, progress)
                rates[when] = fooled.double().mean().item()
                robust[when] = torch.cat([~fooled, stay])
        values = {
            RATE: rates,
            ACCURACY: {when: kept.double().mean().item() for when, kept in robust.items()},
            FLIPS: {"after": (robust["before"] & ~robust["after"]).double().mean().item()},
        }
        counts = {RATE: len(chosen), ACCURACY: len(robust["after"]), FLIPS: len(robust["after"])}
        measured = Measured()
        for name, told in values.items():
            description = self.descriptions()[self.prefix + name]
            described = replace(description, protocol=self._protocol(threat, counts[name]))
            measured |= Measured.of(self.prefix + name, described, told)
        return measured

    def _robust(
        self,
        model: nn.Module,
        inputs: Tensor,
        target: Tensor,
        threat: ThreatModel,
        generator: torch.Generator,
        progress: Progress,
    ) -> Tensor:
        """Which inputs the model gets right and the attack does not turn wrong, [N] bool; only the former are tried."""
        right = torch.zeros(len(inputs), dtype=torch.bool, device=inputs.device)
        with torch.no_grad():
            for batch in torch.arange(len(inputs), device=inputs.device).split(self.batch_size):
                right[batch] = model(inputs[batch]).argmax(dim=1) == target[batch]
        progress.skip(self.steps_for(len(inputs)) - self.steps_for(int(right.sum())))
        tried = right.nonzero().squeeze(1)
        right[tried] = ~self.attack(model, inputs[tried], target[tried], threat, generator, progress)
        return right

    def _protocol(self, threat: ThreatModel, count: int) -> str:
        """Attack, loss, norm, radius, steps, inputs."""
        loss = self.loss.replace("_", "-")
        return f"PGD, {loss} loss, {NORMS[threat.norm]} radius {threat.size}, {self.steps} steps, {count} inputs"
