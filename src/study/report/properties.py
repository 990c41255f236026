"""What is compared: the properties of a repair, under which metric each is logged, and which direction is better."""

from dataclasses import dataclass
from typing import Literal

import pandas as pd

Unit = Literal["rate", "seconds", "MiB", "count", "number"]


@dataclass(frozen=True)
class Property:
    """One column of the comparison.

    Attributes:
        key: Name in the CSV and in the published table.
        label: Name that a reader sees.
        metric: The metric that holds it.
        unit: A rate is in [0, 1].
        higher_is_better: None where the direction is not known; then nothing is ranked.
        meaning: One sentence for the page.
    """

    key: str
    label: str
    metric: str
    unit: Unit
    higher_is_better: bool | None
    meaning: str

    @property
    def before(self) -> str:
        """The metric that holds the same property of the faulty model."""
        return f"before/{self.key}"

    @property
    def gain(self) -> str:
        """The metric that holds the relative improvement over the faulty model, positive is better."""
        return f"gain/{self.key}"

    @property
    def arrow(self) -> str:
        """Which way is better."""
        return {True: "↑", False: "↓", None: ""}[self.higher_is_better]


PROPERTIES = (
    Property("accuracy", "accuracy", "after/accuracy", "rate", True, "share of test inputs that are right afterwards"),
    Property(
        "repair_rate",
        "repair rate",
        "after/repair_rate",
        "rate",
        True,
        "of the test inputs that the faulty model gets wrong, the share that is right afterwards",
    ),
    Property(
        "negative_flip_rate",
        "negative flips",
        "after/negative_flip_rate",
        "rate",
        False,
        "share of all test inputs that were right before and are wrong afterwards",
    ),
    Property(
        "attack_success_rate",
        "ASR",
        "after/attack_success_rate",
        "rate",
        False,
        "attack success rate of PGD with cross-entropy, on inputs that both models get right",
    ),
    Property(
        "margin_attack_success_rate",
        "margin ASR",
        "after/margin_attack_success_rate",
        "rate",
        False,
        "the same attack with the logit-margin loss, which saturated outputs cannot fool",
    ),
    Property(
        "robust_accuracy",
        "robust accuracy",
        "after/robust_accuracy",
        "rate",
        True,
        "share of test inputs that stay right under AutoAttack",
    ),
    Property(
        "aaod",
        "AAOD",
        "after/aaod",
        "rate",
        False,
        "average absolute odds difference between the two sensitive groups",
    ),
    Property("time", "repair time", "time/repair", "seconds", False, "wall-clock time of the repair"),
    Property("peak_memory", "peak memory", "cost/peak_memory", "MiB", False, "most memory held during the repair"),
    Property(
        "weights_changed", "weights changed", "cost/weights_changed", "rate", False, "share of weights that differ"
    ),
    Property("labels", "labels", "cost/labels", "count", False, "labels bought"),
    Property("steps", "steps", "cost/steps", "count", False, "gradient steps"),
)


def present(runs: pd.DataFrame) -> tuple[Property, ...]:
    """The properties that these runs have, a user's own metrics (`after/NAME`, direction unknown) last.

    Curves and per-class figures (`after/NAME/...`) are not properties.
    """
    logged = {column for column in runs.columns if "/" in column and runs[column].notna().any()}
    known = [item for item in PROPERTIES if item.metric in logged or item.before in logged]
    others = sorted(
        name.removeprefix("after/")
        for name in logged - {item.metric for item in PROPERTIES}
        if name.startswith("after/") and name.count("/") == 1
    )
    own = [Property(name, name.replace("_", " "), f"after/{name}", "number", None, f"metric {name}") for name in others]
    return (*known, *own)
