"""The published figures, for a look beside the reproduced ones.

Source: H. You, Z. Wang, Z. Dong, L. Mo, J. Zhao, J. Chen, "A Comprehensive Study of Deep Learning Model Fixing
Approaches", ICSE 2026, arXiv 2512.23745: every number of its result tables, means over three seeds. `published.csv`
keeps them in percent as printed (AAOD as a fraction, time in seconds); here they become rates in [0, 1].
Their attack success rate is that of the cross-entropy attack.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

import pandas as pd

CITATION = "You et al., A Comprehensive Study of Deep Learning Model Fixing Approaches, ICSE 2026"
LINK = "https://arxiv.org/abs/2512.23745"

_PERCENT = ("accuracy", "repair_rate", "attack_success_rate", "negative_flip_rate")


@dataclass(frozen=True)
class Publication:
    """What was published for one approach on one data set, keyed as `properties.Property.key`."""

    outcome: str
    figures: Mapping[str, float]
    gains: Mapping[str, float]


def published(method: str, dataset: str) -> Publication | None:
    """The published result that stands beside `method` (NAME, `full/NAME`, `published/NAME` alike), if there is one."""
    return _table().get((method.rpartition("/")[2], dataset))


@cache
def _table() -> dict[tuple[str, str], Publication]:
    with files("study.report").joinpath("published.csv").open(encoding="utf-8") as file:
        frame = pd.read_csv(file)
    scale = dict.fromkeys(_PERCENT, 0.01) | {"aaod": 1.0}
    table = {}
    for row in frame.to_dict(orient="records"):
        figures = {key: float(row[key]) * factor for key, factor in scale.items() if pd.notna(row[key])}
        if pd.notna(row["seconds"]):
            figures["time/repair"] = float(row["seconds"])
        gains = {key: row[f"{key}_gain"] for key in ("accuracy", "attack_success_rate", "aaod")}
        table[str(row["approach"]), str(row["dataset"])] = Publication(
            outcome=str(row["outcome"]),
            figures=figures,
            gains={key: float(gain) * 0.01 for key, gain in gains.items() if pd.notna(gain)},
        )
    return table
