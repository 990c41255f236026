"""The rows of the benchmark: which approach, on how many seeds, and what it is held against."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Row:
    """One approach of the benchmark.

    overrides: further settings; published: its name in the study's tables, "" where it is not there; seeds: how many,
    from 0 up; control: `finetune` gets as many gradient steps, or as many seconds (of searches), as the row took; slow:
    half an hour, run by `make bench-slow` alone.
    """

    label: str
    method: str
    overrides: tuple[str, ...] = ()
    published: str = ""
    seeds: int = 3
    control: Literal["steps", "seconds", "none"] = "steps"
    slow: bool = False


WITHOUT_TERMS = ("method.c_edit=0", "method.c_loc=0")
ROWS: Sequence[Row] = (
    Row("arachne", "arachne", published="arachne", seeds=10, control="seconds"),
    Row("finetune, 30 epochs of joint's schedule", "full/finetune", control="none"),
    Row("full/joint", "full/joint", control="none"),  # the row above takes as many steps
    Row("joint", "joint"),
    Row("fsgmix", "fsgmix", published="fsgmix"),
    Row("fsgmix without guide", "fsgmix", ("method.guide=none",), control="none"),
    Row("reassure", "reassure", published="reassure", control="seconds"),
    Row("reassure_soft", "reassure_soft", control="seconds"),
    Row("apricot", "apricot", published="apricot"),
    Row("apricot without shifts", "apricot", ("method.eta=0",), control="none"),
    Row("editable_training", "editable_training", published="editable_training"),
    Row("editable_training without its terms", "editable_training", WITHOUT_TERMS, control="none"),
    Row("deeprepair", "deeprepair", published="deeprepair"),
    Row("deeprepair without style", "deeprepair", ("method.operator=none",), control="none"),
    Row("hudd", "hudd", published="hudd"),
    Row("hudd with a random bag", "hudd", ("method.bag=random",), control="none"),
    Row("hudd with the failing inputs as bag", "hudd", ("method.bag=failing",), control="none"),
    Row("hybridrepair", "hybridrepair", published="hybridrepair"),
    Row("hybridrepair with random labels", "hybridrepair", ("method.labels=random",), control="none"),
    Row("hybridrepair without semi-supervision", "hybridrepair", ("method.ssl=false",), control="none"),
    Row("full/apricot", "full/apricot", published="apricot", seeds=1, slow=True),
)
