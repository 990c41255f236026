from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.cluster.hierarchy import fcluster, leaves_list, linkage
from torch import Tensor

from study.parts.selection.clustering import Array, clusters, distances, gradient, knee, within_cluster_distances


def points(count: int, width: int = 5, seed: int = 0) -> Tensor:
    return torch.randn(count, width, generator=torch.Generator().manual_seed(seed))


def between(values: Tensor) -> Array:
    found: Array = distances(values, values).numpy()
    return found


def test_distances_are_euclidean_symmetric_and_zero_between_equal_points() -> None:
    values = torch.cat([points(20), points(20)[3:5]]) + 1000
    found = distances(values, values)
    torch.testing.assert_close(found, torch.cdist(values.double(), values.double()), rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(found, found.T, rtol=1e-12, atol=0)
    assert not found.diagonal().any()
    assert found[3, 20] == 0 and found[4, 21] == 0 and found[3, 4] > 0
    torch.testing.assert_close(distances(values[:4], values), found[:4], rtol=1e-9, atol=1e-9)


def naive(distance: Array, labels: NDArray[np.int64]) -> float:
    total = 0.0
    for cluster in set(labels.tolist()):
        members = [i for i in range(len(labels)) if labels[i] == cluster]
        pairs = [distance[i, j] for i in members for j in members if i < j]
        total += len(members) / len(labels) * sum(pairs) / len(pairs) if pairs else 0.0
    return total / len(set(labels.tolist()))


def test_fast_within_cluster_distances_are_the_naive_ones_of_every_cut() -> None:
    distance = between(points(30))
    distance /= distance.max(1, keepdims=True)  # no longer symmetric
    tree = linkage(distance, "ward")
    cuts = [fcluster(tree, k, "maxclust").astype(np.int64) - 1 for k in range(1, 31)]
    fast = within_cluster_distances(distance, cuts, leaves_list(tree))
    np.testing.assert_allclose(fast, [naive(distance, labels) for labels in cuts], rtol=1e-10, atol=1e-12)
    assert fast[0] > fast[10] > fast[-1] == 0


def test_points_around_far_centres_fall_into_pure_clusters() -> None:
    truth = torch.arange(90) % 3
    centres = 20 * torch.eye(5)[:3]
    found = clusters(between(centres[truth] + points(90)), max_clusters=30)
    assert found.labels.max() + 1 >= 3
    for cluster in set(found.labels.tolist()):
        assert len(truth[torch.from_numpy(found.labels) == cluster].unique()) == 1
    assert found.numbers.tolist() == list(range(2, 31)) and len(found.within) == 29


def test_points_are_clustered_by_their_profiles_and_their_number_is_at_the_knee() -> None:
    distance = between(points(60))
    found = clusters(distance, max_clusters=20)
    profiles = distance / distance.max(1, keepdims=True)
    tree = linkage(profiles, "ward")
    cuts = [fcluster(tree, k, "maxclust").astype(np.int64) - 1 for k in range(2, 21)]
    np.testing.assert_allclose(found.within, [naive(profiles, labels) for labels in cuts], rtol=1e-9)
    chosen = knee(found.within)
    assert chosen != found.within.argmin()
    np.testing.assert_array_equal(found.labels, cuts[chosen])


def test_the_number_of_clusters_is_limited_by_the_points() -> None:
    assert clusters(between(points(10)), max_clusters=150).numbers.tolist() == list(range(2, 10))
    assert clusters(between(points(40)), max_clusters=4).numbers.tolist() == [2, 3, 4]


@pytest.mark.parametrize("count", [2, 3, 4, 5])
def test_few_points_take_the_cut_that_is_tightest(count: int) -> None:
    found = clusters(between(points(count)), max_clusters=30)
    assert set(found.labels.tolist()) == set(range(found.labels.max() + 1))
    assert found.numbers.tolist() == list(range(2, max(2, count - 1) + 1))
    assert found.labels.max() + 1 == found.numbers[found.within.argmin()]


@pytest.mark.parametrize("count", [4, 20])
def test_identical_points_are_one_cluster(count: int) -> None:
    found = clusters(between(torch.ones(count, 3)), max_clusters=30)
    assert not found.labels.any() and not found.within.any()


def test_the_gradient_is_of_fourth_order_inside_and_plain_at_the_ends() -> None:
    x = np.arange(9.0)
    slope = gradient(x**4)
    np.testing.assert_allclose(slope[2:-2], 4 * x[2:-2] ** 3)
    np.testing.assert_allclose(slope[:2], [1, 15])
    np.testing.assert_allclose(slope[-2:], [7**4 - 6**4, 8**4 - 7**4])
    np.testing.assert_allclose(gradient(np.array([1.0, 4.0])), [3, 3])


def test_the_knee_is_where_the_gradient_is_farthest_above_the_diagonal() -> None:
    slope = np.concatenate([[-10, -6, -2], np.linspace(-1.0, 0.0, 10)])  # steep, then flat from its fourth value on
    curve = np.concatenate([[100.0], 100 + slope.cumsum()])
    assert knee(curve) in (3, 4)
    assert knee(np.array([3.0, 2.0, 1.0, 0.0])) == 3  # a constant gradient: where the curve is lowest
    assert knee(np.array([1.0])) == 0
