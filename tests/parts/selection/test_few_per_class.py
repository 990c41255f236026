import torch

from study.parts.selection.few_per_class import few_per_class


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_so_many_items_of_each_class_are_drawn_at_random() -> None:
    labels = torch.tensor([1, 1, 0, 1, 2, 2, 1])
    few = few_per_class(labels, 2, generator())
    assert torch.equal(few, few.sort().values)
    assert torch.bincount(labels[few]).tolist() == [1, 2, 2]
    assert few_per_class(labels, 0, generator()).tolist() == list(range(7))
    assert len({tuple(few_per_class(labels, 2, generator(seed)).tolist()) for seed in range(20)}) > 3
