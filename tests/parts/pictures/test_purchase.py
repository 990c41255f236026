from __future__ import annotations

import torch

from study.parts.pictures.purchase import purchase_sheets
from study.parts.selection.label_budget import NONE, Purchase


def captions(figure: object) -> list[str]:
    return [text.get_text() for text in figure.axes[0].get_yticklabels()]  # type: ignore[attr-defined]


def test_inputs_are_shown_by_label_and_with_all_that_the_label_is_for() -> None:
    purchase = Purchase(torch.tensor([2, 0, 4]), torch.tensor([1, 1, 0, 0, 2, NONE]))
    labels = torch.tensor([7, 7, 3, 3, 7, NONE])
    pictures = purchase_sheets(torch.rand(6, 1, 8, 8, generator=torch.Generator().manual_seed(0)), purchase, labels)
    assert list(pictures) == ["bought", "clusters"]
    assert captions(pictures["bought"]) == ["label 3, 1 inputs", "label 7, 2 inputs"]
    assert captions(pictures["clusters"]) == ["label 3, for 2", "label 7, for 2", "label 7, for 1"]
