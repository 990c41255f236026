import torch

from study.parts.augmentation.augmix import OPERATORS, REPLACE
from study.parts.augmentation.mixing import Mixing
from study.parts.augmentation.style import HaarWCT
from study.parts.augmentation.styled_copies import StyledCopies
from study.parts.pictures.styles import style_pictures
from tests.problems import digits_splits


def test_references_are_shown_by_class_and_images_beside_their_copies() -> None:
    splits = digits_splits()
    references = splits["repair"].subset(torch.arange(30))
    style = HaarWCT(references.tensors().inputs)
    copies = StyledCopies(splits["train"], references, style, torch.arange(800) % 30)
    pictures = style_pictures(copies, Mixing(operators=(*OPERATORS, REPLACE)), torch.Generator().manual_seed(0))
    captions = {
        name: [label.get_text() for label in figure.axes[0].get_yticklabels()] for name, figure in pictures.items()
    }
    assert captions["references"] == [f"class {label}" for label in references.labels.unique().tolist()]
    assert captions["copies"] == ["training image", "its reference", "styled copy", "mixed view"]
