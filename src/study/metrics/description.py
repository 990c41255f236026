"""What a metric says about itself, so that whoever shows it need not know it by name. Nothing here imports torch."""

from typing import Literal

from pydantic import ConfigDict
from pydantic.dataclasses import dataclass

Unit = Literal["rate", "seconds", "MiB", "count", "number"]
"""A rate is in [0, 1]; a number has no unit."""
Role = Literal["accuracy", "repaired", "fitted", "broken", "repairs", "flips", "p_value", "time"]


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class Description:
    """A metric as a reader sees it.

    Attributes:
        label: Name of the column.
        unit: Decides how values are written.
        higher_is_better: None where neither direction is better; then nothing is ranked.
        meaning: One sentence.
        protocol: How the value was measured (attack, loss, norm, radius, steps, samples); empty where the meaning says
            it all.
        summary: Whether it belongs where only a few columns fit: the terminal, the ready-made views of MLflow's UI.
        role: Its part in the trade-off between repairing and breaking. accuracy: share of inputs that are right;
            repaired: of the faulty model's errors, the share that is right afterwards; fitted: the same of the errors
            that the repair was given; broken: share of all inputs that were right before and are wrong afterwards;
            repairs, flips: number of the repaired and of the broken inputs; p_value: of the change in accuracy, from
            these numbers; time: seconds that the repair took.
        maskable: Whether a saturated output, whose gradient vanishes, flatters it.
    """

    label: str
    unit: Unit = "number"
    higher_is_better: bool | None = None
    meaning: str = ""
    protocol: str = ""
    summary: bool = True
    role: Role | None = None
    maskable: bool = False
