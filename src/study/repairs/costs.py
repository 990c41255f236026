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
    "time/repair_cpu": Description(
        label="CPU time",
        unit="seconds",
        higher_is_better=False,
        meaning="CPU time of the repair, over all cores",
        summary=False,
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
    "cost/relative_change": Description(
        label="relative change",
        higher_is_better=False,
        meaning="L2 distance of the repaired weights from the faulty ones, over the norm of the faulty ones",
        summary=False,
    ),
    "cost/parameters_added": Description(
        label="parameters added",
        unit="count",
        higher_is_better=False,
        meaning="parameters beyond those of the faulty model",
        summary=False,
    ),
    "cost/labels": Description(
        label="labels", unit="count", higher_is_better=False, meaning="labels bought", summary=False
    ),
    "cost/steps": Description(
        label="steps", unit="count", higher_is_better=False, meaning="gradient steps", summary=False
    ),
    "cost/forward_passes": Description(
        label="forward passes",
        unit="count",
        higher_is_better=False,
        meaning="whole passes of the faulty model over one input that the repair is worth: the multiply-adds of all "
        "layers that it ran over those of one pass; products on stored activations are not counted",
        summary=False,
    ),
    "cost/backward_passes": Description(
        label="backward passes",
        unit="count",
        higher_is_better=False,
        meaning="the same of the layers whose output was to be differentiated: an estimate",
        summary=False,
    ),
    "cost/safeguard_share": Description(
        label="share of the repair",
        unit="rate",
        meaning="share of the repaired weights that the safeguard chose (0: the faulty model, 1: the repaired one)",
        summary=False,
    ),
    "cost/safeguard_tau": Description(
        label="weight of the faulty model",
        unit="rate",
        meaning="weight of the faulty model's answers that the safeguard chose",
        summary=False,
    ),
    "cost/safeguard_temperature": Description(
        label="temperature",
        meaning="temperature of the faulty model's answers that the safeguard fitted",
        summary=False,
    ),
}
"""By the name that each is tracked under. Further costs of an approach are tracked without a description."""


def described(result: RepairResult) -> Measured:
    """The figures of a repair: `time/repair`, `time/repair_cpu` where it is known, and `cost/NAME`."""
    values = {"time/repair": result.seconds}
    if result.cpu_seconds is not None:
        values["time/repair_cpu"] = result.cpu_seconds
    values |= {f"cost/{name}": value for name, value in result.costs.items()}
    return Measured(values, {name: text for name, text in COSTS.items() if name in values})
