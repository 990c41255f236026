import torch

from study.data.split import Split
from study.parts.selection.random_share import random_share


def share(fraction: float, seed: int = 0, count: int = 100) -> torch.Tensor:
    split = Split("train", torch.arange(float(count))[:, None], torch.zeros(count, dtype=torch.int64))
    drawn = random_share(split, fraction, torch.Generator().manual_seed(seed))
    return drawn.tensors().inputs[:, 0]


def test_it_is_a_random_part_of_the_items_in_their_order() -> None:
    items = share(0.25)
    assert len(items.unique()) == 25 and torch.equal(items, items.sort().values)
    assert torch.equal(items, share(0.25)) and not torch.equal(items, share(0.25, seed=1))


def test_the_whole_is_the_split_itself_and_a_small_share_one_item() -> None:
    assert share(1).tolist() == list(range(100))
    assert len(share(0.001)) == 1
