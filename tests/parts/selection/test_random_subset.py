from __future__ import annotations

import torch

from study.data.split import Split
from study.parts.selection.random_subset import random_subset

SPLIT = Split("repair", torch.arange(20.0), torch.arange(20))


def test_it_draws_without_repetition_in_random_order() -> None:
    drawn = random_subset(SPLIT, 8, torch.Generator().manual_seed(0)).labels.tolist()
    assert len(set(drawn)) == 8 and drawn != sorted(drawn)
    assert random_subset(SPLIT, 8, torch.Generator().manual_seed(0)).labels.tolist() == drawn
    within = torch.tensor([3, 5, 11])
    assert sorted(random_subset(SPLIT, 8, torch.Generator(), within=within).labels.tolist()) == [3, 5, 11]
    assert set(random_subset(SPLIT, 2, torch.Generator(), within=within).labels.tolist()) < {3, 5, 11}
