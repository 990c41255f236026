from __future__ import annotations

import torch
from torch import Tensor

from study.parts.selection.unsafe_set import (
    UnsafeSet,
    balanced_bag,
    capped,
    quotas,
    random_bag,
    to_clusters,
    unsafe_sets,
    without_singletons,
)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_clusters_of_one_are_dropped_unless_all_are() -> None:
    assert without_singletons(torch.tensor([3, 1, 0, 3, 2, 2])).tolist() == [1, -1, -1, 1, 0, 0]
    assert without_singletons(torch.tensor([2, 0, 1])).tolist() == [0, 0, 0]


def test_the_distance_to_a_cluster_is_that_to_its_nearest_member() -> None:
    distances = torch.tensor([[1.0, 5.0, 3.0, 0.0], [2.0, 4.0, 9.0, 7.0]])
    found = to_clusters(distances, torch.tensor([0, 1, 0, -1]))
    assert found.tolist() == [[1, 5], [2, 4]]


def test_quotas_are_rounded_up() -> None:
    labels = torch.tensor([0, 0, 0, 1, 1, -1])
    assert quotas(labels, 2).tolist() == [6, 4]
    assert quotas(labels, 0.3).tolist() == [1, 1]
    assert quotas(labels, 1.1).tolist() == [4, 3]


def one_by_one(nearness: Tensor, limits: list[int]) -> list[list[int]]:
    """The selection written out: round by round, input by input in the order of distance."""
    sets: list[list[int]] = [[] for _ in limits]
    ranked, taken = nearness.argsort(dim=1, stable=True), set[int]()
    for order in range(len(limits)):
        own = nearness.gather(1, ranked[:, order : order + 1]).flatten()
        for index in own.argsort(stable=True).tolist():
            cluster = int(ranked[index, order])
            if index not in taken and len(sets[cluster]) < limits[cluster]:
                sets[cluster].append(index)
                taken.add(index)
    return sets


def test_unsafe_sets_are_disjoint_within_quota_and_those_of_the_selection_written_out() -> None:
    for seed in range(5):
        nearness = torch.randint(0, 30, (60, 4), generator=generator(seed)).double()  # with ties
        limits = torch.tensor([3, 20, 10, 7])
        sets = unsafe_sets(nearness, limits)
        assert [each.indices.tolist() for each in sets] == one_by_one(nearness, limits.tolist())
        indices = torch.cat([each.indices for each in sets])
        assert len(indices.unique()) == len(indices) == 40
        for cluster, each in enumerate(sets):
            assert torch.equal(each.distances, nearness[each.indices, cluster])


def test_where_inputs_run_out_sets_stay_smaller() -> None:
    sets = unsafe_sets(torch.tensor([[0.0, 1.0], [0.0, 1.0]]), torch.tensor([5, 5]))
    assert [len(each.indices) for each in sets] == [2, 0]


def test_in_the_bag_every_set_keeps_its_inputs_and_fills_up_with_near_ones() -> None:
    far = UnsafeSet(torch.tensor([7, 8]), torch.tensor([0.0, 5.0]).double())
    sets = [far, UnsafeSet(torch.empty(0, dtype=torch.int64), torch.empty(0).double())]
    sets.append(UnsafeSet(torch.tensor([3, 4, 5]), torch.zeros(3).double()))
    bag = balanced_bag(sets, 300, generator())
    assert len(bag) == 600 and bag[:2].tolist() == [7, 8] and bag[300:303].tolist() == [3, 4, 5]
    assert (bag[:300] == 7).sum() == 299  # 1 - d / sum is 1 for the nearest, 0 for the other
    assert set(bag[300:].tolist()) == {3, 4, 5}
    assert all(80 < int((bag == index).sum()) < 120 for index in (3, 4, 5))
    assert balanced_bag(sets, 0, generator()).tolist() == [7, 8, 3, 4, 5]
    assert torch.equal(bag, balanced_bag(sets, 300, generator()))


def test_a_random_bag_has_its_size_from_so_many_distinct_inputs() -> None:
    candidates = torch.arange(100, 200)
    bag = random_bag(candidates, 12, 50, generator())
    assert len(bag) == 50 and len(bag.unique()) == 12 and torch.isin(bag, candidates).all()
    assert len(random_bag(candidates[:3], 12, 50, generator()).unique()) == 3
    assert len(random_bag(candidates, 12, 5, generator())) == 5


def test_a_cap_subsamples() -> None:
    bag = torch.arange(100)
    assert torch.equal(capped(bag, 100, generator()), bag)
    few = capped(bag, 10, generator())
    assert len(few.unique()) == 10 and few.max() > 20
    assert len(capped(bag, 0, generator())) == 1
