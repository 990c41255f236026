import torch

from study.data.split import Split
from study.parts.training.sampled import Sampled


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_an_epoch_is_a_share_of_the_training_set_and_every_failing_input() -> None:
    split = Split("train", torch.arange(110.0)[:, None], torch.zeros(110, dtype=torch.int64))
    loader = Sampled(split, 16, generator(), train=100, fraction=0.25)
    epochs = [torch.cat([batch.indices for batch in loader]) for _ in range(40)]
    assert len(loader) == 3 and all(len(epoch) == len(epoch.unique()) == 35 for epoch in epochs)
    assert all((epoch >= 100).sum() == 10 for epoch in epochs)
    assert len(torch.cat(epochs).unique()) == 110
    assert 0 < sum(bool(epoch[0] >= 100) for epoch in epochs) < 40  # shuffled: neither part comes first


def test_a_single_item_left_over_joins_the_batch_before() -> None:
    split = Split("train", torch.arange(110.0)[:, None], torch.zeros(110, dtype=torch.int64))
    loader = Sampled(split, 17, generator(), train=100, fraction=0.25)
    assert [len(batch.labels) for batch in loader] == [17, 18] and len(loader) == 2
