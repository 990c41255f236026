from __future__ import annotations

import logging

import pytest
import torch
from sklearn.cluster import HDBSCAN
from torch import Tensor

from study.parts.selection.label_budget import (
    NONE,
    Clustering,
    Selection,
    affordable,
    clustered,
    most_uncertain_clusters,
    one_by_one,
)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def blobs() -> Tensor:
    """Three tight blobs of 30 points, and 5 points far from everything; [95, 4]."""
    random = generator()
    centres = torch.eye(4)[:3].repeat_interleave(30, dim=0)
    near = centres + 0.01 * torch.randn(90, 4, generator=random)
    return torch.cat([near, 20 * torch.randn(5, 4, generator=random)])


def cut(features: Tensor, budget: int, average_size: int = 10, **options: int) -> Clustering:
    settings = {"min_samples": 3, "min_cluster_size": 5, "seed": 0} | options
    return clustered(features, budget, average_size=average_size, **settings)


def clustering(cluster: list[int], centre: list[int]) -> Clustering:
    return Clustering(torch.tensor(cluster), torch.tensor(centre, dtype=torch.int64))


@pytest.mark.parametrize(
    ("percent", "size", "labels"), [(10, 400, 40), (29, 100, 29), (1, 99, 0), (0.5, 400, 2), (100, 7, 7), (250, 7, 7)]
)
def test_a_budget_is_rounded_down_and_never_exceeds_the_pool(percent: float, size: int, labels: int) -> None:
    assert affordable(percent, size) == labels


def test_clusters_lie_within_dense_regions() -> None:
    clusters = cut(blobs(), budget=2, average_size=25)
    assert set(range(90, 95)) <= set(clusters.noise.tolist()) and len(clusters.noise) < 20
    assert len(clusters.centre) == 3
    for cluster, centre in enumerate(clusters.centre.tolist()):
        members = (clusters.cluster == cluster).nonzero().flatten()
        assert len(set((members // 30).tolist())) == 1 and centre // 30 == members[0] // 30
        mean = blobs()[members].mean(0)
        assert centre == int((blobs() - mean).norm(dim=1).argmin())


def test_a_point_is_not_its_own_neighbour_in_the_density() -> None:
    """HDBSCAN on distances in which each is at least that to the third other point, of either end."""
    features = torch.randn(120, 2, generator=generator()).double()
    distance = torch.cdist(features, features)
    noise = {}
    for neighbours in (2, 3):
        core = distance.sort(1).values[:, neighbours]
        reached = torch.maximum(distance, torch.maximum(core[:, None], core)).fill_diagonal_(0)
        flags = HDBSCAN(min_cluster_size=5, min_samples=1, metric="precomputed", copy=True).fit_predict(reached.numpy())
        noise[neighbours] = (flags < 0).nonzero()[0].tolist()
    assert cut(features, budget=3).noise.tolist() == noise[3] != noise[2]


def test_there_are_as_many_clusters_as_labels_or_as_the_average_size_asks_for() -> None:
    inside = 95 - len(cut(blobs(), 1).noise)
    assert len(cut(blobs(), budget=3).centre) == inside // 10
    assert len(cut(blobs(), budget=25).centre) == 25
    assert len(cut(blobs(), budget=1000).centre) == inside
    assert len(cut(blobs(), budget=1, average_size=1000).centre) == 1


def test_clusters_repeat_under_a_seed_whatever_the_global_state() -> None:
    torch.manual_seed(1)
    first, second, other = cut(blobs(), 20), cut(blobs(), 20), cut(blobs(), 20, seed=1)
    assert torch.equal(first.cluster, second.cluster) and torch.equal(first.centre, second.centre)
    assert not torch.equal(first.cluster, other.cluster)


@pytest.mark.parametrize("points", [1, 2, 4, 40])
def test_identical_and_few_points_are_clustered_or_noise(points: int) -> None:
    clusters = cut(torch.ones(points, 3), budget=points)
    for budget in (1, points):
        purchase = most_uncertain_clusters(clusters, torch.ones(points), budget, generator())
        assert 1 <= len(purchase.bought) <= budget


def test_the_clusters_with_most_uncertainty_are_bought() -> None:
    clusters = clustering([0, 0, 1, 1, 1, 2, 3, NONE], [0, 2, 5, 6])
    u = torch.tensor([0.5, 0.3, 0.3, 0.3, 0.3, 0.8, 0.1, 1.0])  # sums 0.8, 0.9, 0.8, 0.1
    purchase = most_uncertain_clusters(clusters, u, 2, generator())
    assert purchase.bought.tolist() == [2, 0]
    assert purchase.source.tolist() == [1, 1, 0, 0, 0, NONE, NONE, NONE]
    assert purchase.propagated(torch.tensor([7, 4])).tolist() == [4, 4, 7, 7, 7, NONE, NONE, NONE]
    assert [purchase.recipients(position).tolist() for position in (0, 1)] == [[2, 3, 4], [0, 1]]
    assert most_uncertain_clusters(clusters, u, 4, generator()).bought.tolist() == [2, 0, 5, 6]


def test_every_member_of_a_bought_cluster_has_the_label_of_its_centre() -> None:
    clusters, u = cut(blobs(), 6), torch.rand(95, generator=generator())
    purchase = most_uncertain_clusters(clusters, u, 6, generator())
    labels = torch.arange(6) + 50
    propagated = purchase.propagated(labels)
    assert len(purchase.bought) == 6
    for position, centre in enumerate(purchase.bought.tolist()):
        members = clusters.cluster == clusters.cluster[centre]
        assert bool((propagated[members] == labels[position]).all())
    chosen = torch.isin(clusters.cluster, clusters.cluster[purchase.bought])
    assert torch.equal(chosen, propagated != NONE)


def test_an_input_whose_label_was_bought_keeps_it() -> None:
    clusters = clustering([0, 0, 1, 1, NONE], [4, 1])  # neither centre lies in its own cluster
    purchase = most_uncertain_clusters(clusters, torch.tensor([0.1, 0.1, 0.3, 0.3, 0.9]), 2, generator())
    assert purchase.bought.tolist() == [1, 4]
    assert purchase.propagated(torch.tensor([7, 4])).tolist() == [4, 7, 7, 7, 4]
    assert purchase.recipients(0).tolist() == [1, 2, 3]


def test_an_empty_cluster_is_not_bought() -> None:
    clusters = clustering([0, 0, 2, 2, 2], [0, 0, 3])
    purchase = most_uncertain_clusters(clusters, torch.zeros(5), 3, generator())
    assert purchase.bought.tolist() == [0, 3]


def test_a_budget_beyond_the_clusters_buys_them_all_and_some_noise_at_random() -> None:
    clusters = clustering([0, NONE, 0, NONE, 1, NONE, NONE], [0, 4])
    u = torch.rand(7, generator=generator())
    drawn = set()
    for seed in range(20):
        purchase = most_uncertain_clusters(clusters, u, 5, generator(seed))
        bought = purchase.bought.tolist()
        assert bought[:3] == [0, 2, 4] and len(set(bought)) == 5
        assert purchase.propagated(purchase.bought).tolist() == [i if i in bought else NONE for i in range(7)]
        drawn.add(tuple(sorted(bought[3:])))
    assert len(drawn) > 3
    assert sorted(most_uncertain_clusters(clusters, u, 7, generator()).bought.tolist()) == list(range(7))


def test_where_all_is_noise_the_most_uncertain_inputs_are_bought(caplog: pytest.LogCaptureFixture) -> None:
    far = 100 * torch.rand(12, 3, generator=generator())
    clusters = cut(far, 3, min_cluster_size=12, min_samples=12)
    assert len(clusters.noise) == 12
    u = torch.linspace(0, 1, 12)
    with caplog.at_level(logging.WARNING):
        purchase = most_uncertain_clusters(clusters, u, 3, generator())
    assert purchase.bought.tolist() == [11, 10, 9] and "noise" in caplog.text
    assert purchase.propagated(torch.tensor([1, 2, 3])).tolist() == [NONE] * 9 + [3, 2, 1]


def test_labels_bought_one_by_one_are_for_nobody_else() -> None:
    purchase = one_by_one(torch.tensor([3, 1]), 5)
    assert purchase.propagated(torch.tensor([8, 9])).tolist() == [NONE, 9, NONE, 8, NONE]


def test_an_input_without_label_is_drawn_only_if_it_is_trusted() -> None:
    labels = torch.tensor([NONE, 3, NONE, 0, NONE])
    selection = Selection(labels, trusted=torch.tensor([True, True, False, False, True]))
    u = torch.tensor([0.25, 0.5, 0.5, 1.0, 1.0])
    assert selection.weights(u).tolist() == [0.75, 1.0, 0.0, 1.0, 0.0]
    assert selection.labelled.tolist() == [1, 3]
