"""The metrics of one job, composed by the `metric` group of the configuration."""

from collections.abc import Mapping
from typing import ClassVar

from torch import Tensor, nn

from study.errors import UsageError
from study.metrics.base import Comparison, ModelMetric
from study.runtime.randomness import stream


def gain(before: float, after: float, *, higher_is_better: bool) -> float:
    """Change relative to the faulty model, as a fraction, positive where the repaired model is better.

    Args:
        before: value of the faulty model, not 0.
        after: value of the repaired model.
        higher_is_better: the direction of the property.

    >>> gain(0.5, 0.25, higher_is_better=False)
    0.5
    """
    change = (after - before) / before
    return change if higher_is_better else -change


class Suite:
    """All that is measured before and after a repair.

    Args:
        comparisons: metrics computed from the logits of both models, by a name of the user's choice.
        attacks: metrics that run the models, likewise.

    Raises:
        ValueError: two metrics report under the same name.
    """

    # Rates of the two attacks that differ by more than this are explained by a masked gradient.
    MASKING_GAP: ClassVar[float] = 0.10

    def __init__(self, *, comparisons: Mapping[str, Comparison], attacks: Mapping[str, ModelMetric]) -> None:
        self.comparisons = dict(comparisons)
        self.attacks = dict(attacks)
        self._metrics: list[Comparison | ModelMetric] = [*comparisons.values(), *attacks.values()]
        names = [metric.name for metric in self._metrics]
        if repeated := {name for name in names if names.count(name) > 1}:
            raise ValueError(f"several metrics report as {', '.join(sorted(repeated))}: leave one of them out")

    def check_radius(self, epsilon: float | None) -> None:
        """Finds an attack without a radius before anything is repaired.

        Args:
            epsilon: the data set's radius; None where it states none.

        Raises:
            UsageError: the data set states none and neither does an attack.
        """
        lacking = [name for name, metric in self.attacks.items() if metric.epsilon is None]
        if epsilon is None and lacking:
            settings = ", ".join(f"metric.attacks.{name}.epsilon" for name in lacking)
            raise UsageError(f"the data set states no radius for attacks: set {settings}, or choose metric=fast")

    def directions(self) -> dict[str, bool]:
        """Of each metric, by the name it reports under, whether higher is better."""
        return {metric.name: metric.higher_is_better for metric in self._metrics}

    def measure(
        self, before_logits: Tensor, after_logits: Tensor, target: Tensor, groups: Tensor | None = None
    ) -> dict[str, float]:
        """Compares the two models' logits.

        Args:
            before_logits: [N, C] of the faulty model.
            after_logits: [N, C] of the repaired model.
            target: [N] long, the labels.
            groups: [N] long, 0 or 1; None where the data set has none.

        Returns:
            `before/NAME`, `after/NAME` and `gain/NAME` for every metric that applies.
        """
        results: dict[str, float] = {}
        for metric in self.comparisons.values():
            metric.to(target.device).reset()
            metric.update(before_logits, after_logits, target, groups)
            values = {when: value.item() for when, value in metric.compute().items()}
            results |= self._named(metric, values)
        return results

    def attack(
        self,
        before_model: nn.Module,
        after_model: nn.Module,
        inputs: Tensor,
        target: Tensor,
        right: Tensor,
        *,
        seed: int,
        box: tuple[float, float] = (0.0, 1.0),
        epsilon: float | None = None,
    ) -> dict[str, float]:
        """Runs the attacks on both models, each on a sample that depends on the seed alone.

        Args:
            before_model: the faulty model, in eval mode.
            after_model: the repaired model, in eval mode.
            inputs: [N, ...] in their natural range. Integer inputs (tokens) have no gradient: nothing is measured.
            target: [N] long, the labels.
            right: [N] bool, the inputs that both models classify right.
            seed: of the job.
            box: the smallest and the largest value that an input can have.
            epsilon: the data set's radius; a metric's own comes first.

        Returns:
            As `measure`.
        """
        results: dict[str, float] = {}
        if not inputs.is_floating_point():
            return results
        for metric in self.attacks.values():
            # Every attack gets the same stream: two that draw alike attack the same inputs and can be compared.
            generator = stream(seed, "attack")
            values = metric.measure(
                before_model, after_model, inputs, target, right, generator, box=box, epsilon=epsilon
            )
            results |= self._named(metric, values)
        return results

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

    @staticmethod
    def _named(metric: Comparison | ModelMetric, values: Mapping[str, float]) -> dict[str, float]:
        named = {f"{when}/{metric.name}": value for when, value in values.items()}
        if values.get("before") and "after" in values:
            better = metric.higher_is_better
            named[f"gain/{metric.name}"] = gain(values["before"], values["after"], higher_is_better=better)
        return named
