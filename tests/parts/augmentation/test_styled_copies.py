from __future__ import annotations

import torch
from torch import Tensor

from study.data.split import Chained, Split
from study.parts.augmentation.augmix import to_float, to_uint8
from study.parts.augmentation.style import HaarWCT
from study.parts.augmentation.styled_copies import StyledCopies
from tests.problems import digits_splits


def copies(split: Split, alpha: float = 1.0) -> StyledCopies:
    """Copies in the style of the first items of the repair split, which take turns."""
    references = digits_splits()["repair"].subset(torch.arange(7))
    style = HaarWCT(references.tensors().inputs, alpha=alpha)
    return StyledCopies(split, references, style, torch.arange(len(split)) % 7)


def test_a_copy_is_the_image_in_the_style_of_its_reference_as_grey_levels() -> None:
    images = digits_splits()["train"].tensors()
    train, indices = Split("train", 0.2 + images.inputs / 2, images.labels), torch.tensor([5, 700, 12])
    made, batch = copies(train), train.fetch(indices)
    lowest, highest = (bound[:, None, None, None] for bound in batch.inputs.flatten(1).aminmax(dim=1))
    styled = made.style(batch.inputs, indices % 7)
    assert (styled < lowest).any() and (styled > highest).any() and lowest.min() > 0 and highest.max() < 1
    expected: Tensor = styled.clamp(lowest, highest)
    assert made.stored is not None and made.stored.shape == train.tensors().inputs.shape
    assert torch.equal(made(batch), to_float(made.stored[indices]))
    assert (made(batch) - expected).abs().max() <= 0.5 / 255 + 1e-5
    assert not torch.equal(made(batch), copies(train, alpha=0)(batch))
    assert torch.equal(copies(train, alpha=0)(batch), to_float(to_uint8(batch.inputs)))


def test_of_images_in_files_copies_are_made_when_a_batch_is_read() -> None:
    train = digits_splits()["train"]
    lazy = copies(Split("train", Chained([train.tensors().inputs]), train.labels))
    assert lazy.stored is None
    batch = train.fetch(torch.arange(50))
    assert (lazy(batch) - copies(train)(batch)).abs().max() <= 1 / 255 + 1e-6
