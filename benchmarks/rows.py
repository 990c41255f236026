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
    half an hour, run by `make bench-slow` alone; passes: count what it computes in forward passes; idea: level and what
    the approach does, for the README.
    """

    label: str
    method: str
    overrides: tuple[str, ...] = ()
    published: str = ""
    seeds: int = 3
    control: Literal["steps", "seconds", "none"] = "steps"
    slow: bool = False
    passes: bool = False
    idea: str = ""


WITHOUT_TERMS = ("method.c_edit=0", "method.c_loc=0")
ROWS: Sequence[Row] = (
    Row(
        "arachne",
        "arachne",
        published="arachne",
        seeds=10,
        control="seconds",
        passes=True,
        idea="neuron: localises a few weights, searches new values by differential evolution",
    ),
    Row("arachne with guard", "arachne", ("method.guard=true",), control="none"),
    Row("arachne at random weights", "arachne", ("method.localisation=random",), control="none"),
    Row("arachne with random draws", "arachne", ("method.search=random",), control="none"),
    Row("finetune, 30 epochs of joint's schedule", "full/finetune", control="none", idea="control: training goes on"),
    Row(
        "full/joint", "full/joint", control="none", idea="model: `joint` for 30 epochs"
    ),  # the row above takes as many steps
    Row(
        "joint",
        "joint",
        idea="model: ours, training with extra failing inputs, free adversarial examples, a hinge against new errors",
    ),
    Row(
        "fsgmix",
        "fsgmix",
        published="fsgmix",
        idea="model: fine-tunes on AugMix views into which failing inputs are mixed (a reconstruction)",
    ),
    Row("fsgmix without guide", "fsgmix", ("method.guide=none",), control="none"),
    Row(
        "reassure",
        "reassure",
        published="reassure",
        control="seconds",
        idea="layer: a patch network beside the model, exact on the linear region of each failing input",
    ),
    Row(
        "reassure_soft",
        "reassure_soft",
        control="seconds",
        idea="layer: the same with soft supports, a variant of ours that reaches unseen inputs",
    ),
    Row(
        "apricot",
        "apricot",
        published="apricot",
        idea="model: shifts the weights towards sub-models that are right, retrains, round by round",
    ),
    Row("apricot without shifts", "apricot", ("method.eta=0",), control="none"),
    Row(
        "editable_training",
        "editable_training",
        published="editable_training",
        idea="model: trains the network to be edited by a few gradient steps, then edits the failing inputs",
    ),
    Row("editable_training without its terms", "editable_training", WITHOUT_TERMS, control="none"),
    Row(
        "deeprepair",
        "deeprepair",
        published="deeprepair",
        idea="model: fine-tunes on training images in the style of failing ones",
    ),
    Row("deeprepair without style", "deeprepair", ("method.operator=none",), control="none"),
    Row(
        "hudd",
        "hudd",
        published="hudd",
        idea="model: clusters failing inputs by relevance heatmaps, retrains on a balanced bag",
    ),
    Row("hudd with a random bag", "hudd", ("method.bag=random",), control="none"),
    Row("hudd with the failing inputs as bag", "hudd", ("method.bag=failing",), control="none"),
    Row(
        "hybridrepair",
        "hybridrepair",
        published="hybridrepair",
        idea="model: buys few labels, propagates them in clusters, trains semi-supervised",
    ),
    Row("hybridrepair with random labels", "hybridrepair", ("method.labels=random",), control="none"),
    Row("hybridrepair without semi-supervision", "hybridrepair", ("method.ssl=false",), control="none"),
    Row(
        "full/apricot", "full/apricot", published="apricot", seeds=1, slow=True, idea="model: `apricot` at paper scale"
    ),
)
