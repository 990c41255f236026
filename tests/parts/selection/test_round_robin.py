import torch

from study.parts.selection.round_robin import round_robin


def test_classes_take_turns_and_a_smaller_set_is_part_of_a_larger_one() -> None:
    labels = torch.tensor([0] * 7 + [1] * 2 + [3] * 9)

    def drawn(count: int, seed: int = 0) -> torch.Tensor:
        return round_robin(labels, count, torch.Generator().manual_seed(seed))

    assert labels[drawn(18)].tolist() == [0, 1, 3, 0, 1, 3] + [0, 3] * 5 + [3] * 2
    assert sorted(drawn(99).tolist()) == list(range(18))
    assert torch.equal(drawn(18)[:5], drawn(5)) and not torch.equal(drawn(18), drawn(18, seed=1))
    assert not len(drawn(0)) and not len(round_robin(labels[:0], 5, torch.Generator()))
