"""What came of metrics: their values, what they say about themselves, and why some do not apply. No torch here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from study.metrics.description import Description


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


@dataclass(frozen=True)
class Measured:
    """What came of some metrics.

    values: `before/NAME`, `after/NAME` and `gain/NAME` of those that apply, `low/NAME` and `high/NAME` of those whose
    `after/NAME` has an interval (a figure that is not a metric's stands under its own name, as `time/repair` does);
    descriptions: of all, by NAME; not_applicable: why a NAME does not apply; flags: how a NAME is doubtful, as its own
    method found.
    """

    values: Mapping[str, float] = field(default_factory=dict)
    descriptions: Mapping[str, Description] = field(default_factory=dict)
    not_applicable: Mapping[str, str] = field(default_factory=dict)
    flags: Mapping[str, str] = field(default_factory=dict)

    def __or__(self, other: Measured) -> Measured:
        """Both together; where they differ, the other's."""
        return Measured(
            {**self.values, **other.values},
            {**self.descriptions, **other.descriptions},
            {**self.not_applicable, **other.not_applicable},
            {**self.flags, **other.flags},
        )

    def of_faulty(self) -> Measured:
        """Without the values that need a repaired model."""
        return replace(self, values={name: value for name, value in self.values.items() if name.startswith("before/")})

    @staticmethod
    def of(
        name: str,
        description: Description,
        values: Mapping[str, float],
        interval: tuple[float, float] | None = None,
    ) -> Measured:
        """One metric's values ("before", "after") and interval (low, high), with the gain where there is one."""
        ends = {} if interval is None else {"low": interval[0], "high": interval[1]}
        named = {f"{when}/{name}": value for when, value in {**values, **ends}.items()}
        better = description.higher_is_better
        if values.get("before") and "after" in values and better is not None:
            named[f"gain/{name}"] = gain(values["before"], values["after"], higher_is_better=better)
        return Measured(named, {name: description})

    @staticmethod
    def of_all(
        descriptions: Mapping[str, Description], values: Mapping[str, Mapping[str, float]], protocol: str
    ) -> Measured:
        """The values of several metrics that were measured by one protocol, by name, each as in `of`."""
        measured = Measured()
        for name, description in descriptions.items():
            measured |= Measured.of(name, replace(description, protocol=protocol), values[name])
        return measured

    @staticmethod
    def without(name: str, description: Description, reason: str) -> Measured:
        """One metric that does not apply."""
        return Measured({}, {name: description}, {name: reason})
