"""The rows of the benchmark: which approach, on how many seeds, and what it is held against."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Row:
    """One approach of the benchmark.

    overrides: further settings; published: its name in the study's tables, "" where it is not there; seeds: how many,
    from 0 up; control: `finetune` gets as many gradient steps, or as many seconds (of searches), as the row took.
    """

    label: str
    method: str
    overrides: tuple[str, ...] = ()
    published: str = ""
    seeds: int = 3
    control: Literal["steps", "seconds", "none"] = "steps"


ROWS: Sequence[Row] = (
    Row("arachne", "arachne", published="arachne", seeds=10, control="seconds"),
    Row("finetune, 30 epochs of joint's schedule", "full/finetune", control="none"),
    Row("full/joint", "full/joint"),
    Row("joint", "joint"),
    Row("fsgmix", "fsgmix", published="fsgmix"),
    Row("fsgmix without guide", "fsgmix", ("method.guide=none",), control="none"),
    Row("reassure", "reassure", published="reassure", control="seconds"),
    Row("reassure_soft", "reassure_soft", control="seconds"),
)
