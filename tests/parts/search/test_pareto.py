import pytest
import torch
from torch import Tensor

from study.parts.search.pareto import pareto_front


def dominated(first: Tensor, second: Tensor, i: int) -> bool:
    no_worse = (first >= first[i]) & (second >= second[i])
    return bool((no_worse & ((first > first[i]) | (second > second[i]))).any())


@pytest.mark.parametrize("seed", range(5))
def test_pareto_front_equals_brute_force_with_ties(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    first, second = torch.randint(0, 12, (2, 150), generator=generator).float()
    expected = []
    for i in range(150):
        earlier_twin = ((first[:i] == first[i]) & (second[:i] == second[i])).any()
        if not dominated(first, second, i) and not earlier_twin:
            expected.append(i)
    assert sorted(pareto_front(first, second).tolist()) == expected


def test_pareto_front_by_hand() -> None:
    first = torch.tensor([1.0, 3.0, 2.0, 3.0, 0.0])
    second = torch.tensor([5.0, 1.0, 1.0, 1.0, 5.0])
    assert pareto_front(first, second).tolist() == [1, 0]
