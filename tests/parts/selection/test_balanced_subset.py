"""As many items of each class."""

import torch

from study.parts.selection.balanced_subset import balanced_subset
from study.runtime.randomness import stream


def test_a_fifth_of_each_class_or_all_of_a_smaller_one() -> None:
    labels = torch.cat([torch.zeros(6000), torch.ones(50), torch.full((3,), 2)]).long()
    assert labels[balanced_subset(labels, "auto", stream(0, "a"))].bincount().tolist() == [1000, 10, 1]
    assert labels[balanced_subset(labels, 40, stream(0, "a"))].bincount().tolist() == [40, 40, 3]
