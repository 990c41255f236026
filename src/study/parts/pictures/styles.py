"""Pictures of a style transfer: the images that give a style, and training images that take it on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch

from study.parts.augmentation.mixing import Mixing
from study.parts.augmentation.styled_copies import StyledCopies
from study.parts.pictures.contact_sheet import contact_sheet

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COLUMNS, CLASSES = 10, 20
"""Images in a row and classes shown, at most."""


def style_pictures(copies: StyledCopies, mixing: Mixing, generator: torch.Generator) -> Mapping[str, Figure]:
    """`references`: the references by class; `copies`: training images beside their copies and mixed views of both."""
    references = copies.references.fetch(torch.arange(len(copies.references)))
    labels, inputs = references.labels, references.inputs
    by_class = [(f"class {label}", inputs[labels == label][:COLUMNS]) for label in labels.unique().tolist()]
    batch = copies.split.fetch(torch.arange(min(COLUMNS, len(copies.split))))
    styled = copies(batch)
    examples = [
        ("training image", batch.inputs),
        ("its reference", inputs[copies.choice[batch.indices]]),
        ("styled copy", styled),
        ("mixed view", mixing.view(batch.inputs, generator, styled)),
    ]
    return {
        "references": contact_sheet("Failing repair inputs that give their style", by_class[:CLASSES]),
        "copies": contact_sheet("Training images in the style of failing ones", examples),
    }
