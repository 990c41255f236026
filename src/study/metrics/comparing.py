"""Two models compared on the test split: their answers first, then both under attack."""

from __future__ import annotations

from torch import Tensor, nn

from study.data.threat import ThreatModel
from study.metrics.measured import Measured
from study.metrics.sampling import sample_of
from study.metrics.standing import Standing
from study.metrics.suite import Suite
from study.problem.prediction import predict


def compared(
    standing: Standing, faulty: nn.Module, model: nn.Module | None, suite: Suite, threat: ThreatModel | None, seed: int
) -> tuple[Tensor, Measured]:
    """The logits [N, C] of `model` on the test split, and all that `suite` measures of the two.

    Args:
        standing: the logits of `faulty` on the test split.
        faulty, model: in eval mode, on the device of the split. Where they are one module it runs once; None for
            `model`: there is none, and nothing is attacked.
        threat: what an attack may do to an input.
        seed: of the resamples, of the sample that is attacked, and of the attacks.
    """
    test, before = standing.splits["test"], standing.logits
    after = before if model is None or model is faulty else predict(model, test)
    measured = suite.measure(before, after, test.labels, test.groups, seed) | standing.beside(model)
    if model is not None:
        sample = sample_of(test, before, after, seed)
        measured |= suite.attack(faulty, model, sample, threat, seed)
    return after, measured
