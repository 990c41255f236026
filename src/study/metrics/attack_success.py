"""Attack success rate: how easily small changes of an input turn a right answer wrong."""

from typing import ClassVar

import torch
from torch import Tensor, nn

from study.metrics.robustness import LinfPGD
from study.metrics.sampling import draw_sample


class AttackSuccess(LinfPGD):
    """Of the inputs that both models classify right, the share that L-infinity PGD turns wrong.

    Both models are attacked on the same sample from the same starts. With `loss=margin` saturated logits cannot mask
    the gradient; the two rates side by side tell a robust model from one that only hides its gradient.
    """

    higher_is_better: ClassVar[bool] = False

    @property
    def name(self) -> str:
        """Names the rate after the loss; the cross-entropy attack is the usual one and has no prefix."""
        return "margin_attack_success_rate" if self.loss == "margin" else "attack_success_rate"

    def measure(
        self,
        before: nn.Module,
        after: nn.Module,
        inputs: Tensor,
        target: Tensor,
        right: Tensor,
        generator: torch.Generator,
        *,
        box: tuple[float, float],
        epsilon: float | None,
    ) -> dict[str, float]:
        """The rate "before" and "after"; nothing if there is no input that both classify right.

        See `ModelMetric.measure`.
        """
        sample = draw_sample(right.nonzero().squeeze(1), self.samples, generator)
        if len(sample) == 0:
            return {}
        starts = generator.get_state()
        rates = {}
        for when, model in (("before", before), ("after", after)):
            generator.set_state(starts)
            fooled = self.attack(model, inputs[sample], target[sample], generator, box=box, epsilon=epsilon)
            rates[when] = fooled.double().mean().item()
        return rates
