"""What is compared: the columns of the comparison, as the runs themselves state them in their tags."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from typing import Literal, get_args

import pandas as pd

Unit = Literal["rate", "seconds", "MiB", "count", "number"]
STATEMENT, NOT_APPLICABLE = "metric.", "not_applicable"
"""Tags of a run: `metric.NAME` describes a property, `not_applicable` says by NAME why one has no value; both JSON."""


@dataclass(frozen=True)
class Property:
    """One column of the comparison.

    Attributes:
        key: Its name in tags, in the CSV and in the published table; with a slash, that of the metric that holds it.
        label: Name that a reader sees.
        unit: A rate is in [0, 1].
        higher_is_better: None where neither direction is better; then nothing is ranked.
        meaning: One sentence for the page.
        protocol: How it was measured.
        summary: Whether it is shown where only a few columns fit.
        role: Its part in the trade-off: `accuracy`, `repaired` (share of the faulty model's errors that are right
            afterwards), `fitted` (the same of the errors that the repair was given), `broken` (share of all inputs that
            are newly wrong), `repairs` and `flips` (their numbers), `p_value` (of the change in accuracy, from
            these), `time`, or None.
        maskable: Whether a masked gradient flatters it.
    """

    key: str
    label: str
    unit: Unit = "number"
    higher_is_better: bool | None = None
    meaning: str = ""
    protocol: str = ""
    summary: bool = True
    role: str | None = None
    maskable: bool = False

    @property
    def metric(self) -> str:
        """The metric that holds it after the repair."""
        return self.key if "/" in self.key else f"after/{self.key}"

    @property
    def before(self) -> str:
        """The metric that holds the same property of the faulty model."""
        return f"before/{self.key}"

    @property
    def gain(self) -> str:
        """The metric that holds the relative improvement over the faulty model, positive is better."""
        return f"gain/{self.key}"

    @property
    def interval(self) -> tuple[str, str]:
        """The metrics that hold the ends of its 95 % interval over test inputs, after the repair."""
        return f"low/{self.key}", f"high/{self.key}"

    @property
    def arrow(self) -> str:
        """Which way is better."""
        return {True: "↑", False: "↓", None: ""}[self.higher_is_better]


def stated(tags: Mapping[str, str]) -> dict[str, Property]:
    """The properties that a run states, by key and in its order; a tag that cannot be read is passed over."""
    known = {field.name for field in fields(Property)}
    found: list[tuple[int, Property]] = []
    for tag, text in tags.items():
        key = tag.removeprefix(STATEMENT)
        if key == tag:
            continue
        with contextlib.suppress(KeyError, TypeError, ValueError):
            values = dict(json.loads(text))
            place = int(values.pop("place"))
            if values.get("unit") not in get_args(Unit):
                values.pop("unit", None)
            found.append((place, Property(key, **{name: values[name] for name in values.keys() & known})))
    return {item.key: item for _, item in sorted(found, key=lambda pair: pair[0])}


def reasons(tags: Mapping[str, str]) -> dict[str, str]:
    """Why properties have no value in a run, by key."""
    with contextlib.suppress(KeyError, TypeError, ValueError):
        return {str(key): str(reason) for key, reason in dict(json.loads(tags[NOT_APPLICABLE])).items()}
    return {}


def present(runs: pd.DataFrame) -> tuple[Property, ...]:
    """The properties that these runs have, as `union` describes them, in the order of the newest run.

    Metrics `after/NAME` that no run describes come last, and nothing is known of them but their name. Curves and
    per-class figures (`after/NAME/...`) are not properties.
    """
    logged = {column for column in runs.columns if "/" in column and runs[column].notna().any()}
    known = union(runs)
    described = [item for item in known if item.metric in logged or item.before in logged]
    others = sorted(
        name.removeprefix("after/")
        for name in logged - {item.metric for item in known}
        if name.startswith("after/") and name.count("/") == 1
    )
    return (*described, *(Property(name, name.replace("_", " "), meaning=f"metric {name}") for name in others))


def union(runs: pd.DataFrame) -> tuple[Property, ...]:
    """Everything that any of the runs states; where they differ, the newest counts to which the property applies."""
    known: dict[str, Property] = {}
    applied: dict[str, Property] = {}
    order: list[str] = []
    newest_first = runs.sort_values("ended", ascending=False, kind="stable")
    for properties, missing in zip(newest_first["properties"], newest_first["not_applicable"], strict=True):
        known = {**properties, **known}
        applied = {**{key: item for key, item in properties.items() if key not in missing}, **applied}
        _merge(order, properties)
    return tuple((known | applied)[key] for key in order)


def _merge(order: list[str], further: Iterable[str]) -> None:
    """Put each name that `order` lacks behind the one that it follows in `further`."""
    place = 0
    for name in further:
        if name in order:
            place = order.index(name) + 1
        else:
            order.insert(place, name)
            place += 1
