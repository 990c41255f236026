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
AUTHORS_NORM, NONE_KEPT = ("method.objective=reference",), "method.protect=0"
ROWS: Sequence[Row] = (
    Row(
        "arachne",
        "arachne",
        published="arachne",
        seeds=10,
        control="seconds",
        passes=True,
        idea="neuron: localises a few weights of the last layer, searches new values by differential evolution",
    ),
    Row("arachne with guard", "arachne", ("method.guard=true",), control="none"),
    Row("arachne at random weights", "arachne", ("method.localisation=random",), control="none"),
    Row("arachne with random draws", "arachne", ("method.search=random",), control="none"),
    Row(
        "care",
        "care",
        published="care",
        control="seconds",
        passes=True,
        idea="neuron: finds the neurons that cause the wrong predictions, scales them by particle swarm",
    ),
    Row("care with guard", "care", ("method.guard=true",), control="none"),
    Row("care at random neurons", "care", ("method.localisation=random",), control="none"),
    Row("care with random draws", "care", ("method.search=random",), control="none"),
    Row(
        "neurecover",
        "neurecover",
        published="neurecover",
        control="seconds",
        passes=True,
        idea="neuron: searches the weights that the last epoch of training made worse, by particle swarm",
    ),
    Row("neurecover with guard", "neurecover", ("method.guard=true",), control="none"),
    Row("neurecover at random weights", "neurecover", ("method.localisation=random",), control="none"),
    Row("neurecover with random draws", "neurecover", ("method.search=random",), control="none"),
    Row(
        "nnrepair",
        "nnrepair",
        control="seconds",
        passes=True,
        idea="neuron: one expert per class by mixed-integer programs over five weights, averaged",
    ),
    Row("nnrepair with guard", "nnrepair", ("method.guard=true",), control="none"),
    Row("nnrepair at random weights", "nnrepair", ("method.localisation=random",), control="none"),
    Row("nnrepair with random draws", "nnrepair", ("method.solve=random",), control="none"),
    Row("nnrepair, most confident expert", "nnrepair", ("method.combination=conf",), control="none"),
    Row(
        "irepair",
        "irepair",
        published="irepair",
        control="seconds",
        passes=True,
        idea="neuron: fine-tunes only the weights that influence the failures more than normal behaviour",
    ),
    Row("irepair with guard", "irepair", ("method.guard=true",), control="none"),
    Row("irepair with a random mask", "irepair", ("method.mask=random",), control="none"),
    Row("irepair without mask", "irepair", ("method.mask=none",), control="none"),
    Row(
        "distrrep",
        "distrrep",
        published="distrrep",
        control="seconds",
        passes=True,
        idea="neuron: one particle swarm per kind of error, their patches mixed by the risk of what is left",
    ),
    Row("distrrep with guard", "distrrep", ("method.guard=true",), control="none"),
    Row("distrrep at random weights", "distrrep", ("method.localisation=random",), control="none"),
    Row("distrrep with random draws", "distrrep", ("method.search=random",), control="none"),
    Row("distrrep without risk", "distrrep", ("method.merge=sum", "method.accept=always"), control="none"),
    Row(
        "genmunn",
        "genmunn",
        published="genmunn",
        control="seconds",
        passes=True,
        idea="neuron: mutates the most important weights window by window, in a genetic search (a reconstruction)",
    ),
    Row("genmunn with guard", "genmunn", ("method.guard=true",), control="none"),
    Row("genmunn at random weights", "genmunn", ("method.rank=random",), control="none"),
    Row("genmunn with random mutants", "genmunn", ("method.search=random",), control="none"),
    Row(
        "vere",
        "vere",
        published="vere",
        control="seconds",
        passes=True,
        idea="neuron: one hidden neuron per round, chosen and aimed by verified bounds, retrained",
    ),
    Row("vere with guard", "vere", ("method.guard=true",), control="none"),
    Row("vere at random neurons", "vere", ("method.localisation=random",), control="none"),
    Row("vere aimed by the output loss", "vere", ("method.targets=output", "method.lr=0.001"), control="none"),
    Row(
        "inner",
        "inner",
        published="inner",
        control="seconds",
        passes=True,
        idea="neuron: probes find the blocks that go wrong, routing their weights, which the probes' loss repairs",
    ),
    Row("inner with guard", "inner", ("method.guard=true",), control="none"),
    Row("inner at random weights", "inner", ("method.routing=random",), control="none"),
    Row("inner in random blocks", "inner", ("method.blocks=random",), control="none"),
    Row("inner by the output loss", "inner", ("method.loss=output",), control="none"),
    Row("finetune, 30 epochs of joint's schedule", "full/finetune", control="none", idea="control: training goes on"),
    Row("retrained", "retrained", control="none", idea="control: the same training with another seed"),
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
        idea="layer: the same with soft supports that validation chooses, a variant of ours that reaches unseen inputs",
    ),
    Row("reassure_soft, telescoping", "reassure_soft", ("method.combine=telescoping",), control="none"),
    Row(
        "three_m_dnn",
        "three_m_dnn",
        published="three_m_dnn",
        control="seconds",
        idea="layer: the least change of the last two dense layers with which 10 failing inputs are right, by programs",
    ),
    Row("three_m_dnn in one layer", "three_m_dnn", ("method.separations=0",), control="none"),
    Row("three_m_dnn along the gradient", "three_m_dnn", ("method.change=gradient",), control="none"),
    Row(
        "three_m_dnn_protected",
        "three_m_dnn_protected",
        control="seconds",
        idea="layer: the least change of the last layer that repairs all failing repair inputs and keeps passing ones",
    ),
    Row(
        "three_m_dnn_protected along the gradient",
        "three_m_dnn_protected",
        ("method.change=gradient",),
        control="none",
    ),
    Row(
        "aprnn",
        "aprnn",
        control="seconds",
        idea="layer: the least change of one layer that repairs every given input and switches no later ReLU, provably",
    ),
    Row("aprnn, ReLUs free to switch", "aprnn", ("method.signs=ignored",), control="none"),
    Row(
        "aprnn, the authors' objective, 50 points",
        "aprnn",
        (*AUTHORS_NORM, "method.points=50", NONE_KEPT),
        control="none",
    ),
    Row(
        "prdnn",
        "prdnn",
        control="seconds",
        idea="layer: the same in a second channel of values beside the network, whose ReLUs the first one decides",
    ),
    Row("prdnn, one channel", "prdnn", ("method.channel=single",), control="none"),
    Row(
        "prdnn, the authors' objective, 25 points",
        "prdnn",
        (*AUTHORS_NORM, "method.points=25", "method.protect=2000"),
        control="none",
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
        idea="model: fine-tunes on training images in the style of failing ones (Haar wavelets for the authors' WCT2)",
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
    Row("full/apricot", "full/apricot", published="apricot", seeds=1, slow=True, idea="model: `apricot` at full scale"),
)
