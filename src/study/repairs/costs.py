"""What a repair costs, and what each figure means: the one place that describes the figures of a repair itself."""

from __future__ import annotations

from collections.abc import Mapping

from study.metrics.description import Description
from study.metrics.measured import Measured
from study.repairs.run import RepairResult

COSTS: Mapping[str, Description] = {
    "time/repair": Description(
        label="repair time",
        unit="seconds",
        higher_is_better=False,
        meaning="wall-clock time of the repair",
        role="time",
    ),
    "cost/repair_set_fixed": Description(
        label="repair rate, repair set",
        unit="rate",
        meaning="of the failing repair inputs, the share that is right after the repair, before any safeguard: what "
        "was fitted, where the repair rate is what generalises",
        summary=False,
        role="fitted",
    ),
    "cost/peak_memory": Description(
        label="peak memory",
        unit="MiB",
        higher_is_better=False,
        meaning="largest memory in use during the repair",
        summary=False,
    ),
    "cost/weights_changed": Description(
        label="weights changed",
        unit="rate",
        higher_is_better=False,
        meaning="share of weights that differ",
        summary=False,
    ),
    "cost/labels": Description(
        label="labels", unit="count", higher_is_better=False, meaning="labels bought", summary=False
    ),
    "cost/steps": Description(
        label="steps", unit="count", higher_is_better=False, meaning="gradient steps", summary=False
    ),
}
"""By the name that each is tracked under. Further costs of an approach are tracked without a description."""


def described(result: RepairResult) -> Measured:
    """The figures of a repair: `time/repair` and `cost/NAME`."""
    values = {"time/repair": result.seconds} | {f"cost/{name}": value for name, value in result.costs.items()}
    return Measured(values, {name: text for name, text in COSTS.items() if name in values})
