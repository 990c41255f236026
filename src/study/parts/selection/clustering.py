"""Clusters of points by Ward linkage, their number found at the knee of the within-cluster distance.

As HUDD's code does it (SNTSVV/HUDD-Toolset): the points are clustered by their profiles of distances to all others.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.cluster.hierarchy import fcluster, leaves_list, linkage
from scipy.spatial.distance import squareform
from torch import Tensor

Array = NDArray[np.float64]
FEWEST = 6
"""Points below which a curve over the number of clusters has no knee."""


@dataclass(frozen=True)
class Clusters:
    """A cut of a dendrogram.

    labels: the cluster 0 .. K - 1 of each point, int64 [n]; numbers, within: numbers of clusters that were tried, and
    the weighted within-cluster distance of each, on the distances that were given.
    """

    labels: NDArray[np.int64]
    numbers: NDArray[np.int64]
    within: Array


def distances(points: Tensor, others: Tensor) -> Tensor:
    """Euclidean distances [N, M], float64, between `points` [N, P] and `others` [M, P]."""
    centre = others.double().mean(0)
    points, others = points.double() - centre, others.double() - centre
    squares = points.square().sum(1)[:, None] + others.square().sum(1) - 2 * points @ others.T
    # What rounding (of single precision) and cancellation leave between equal points.
    noise = 1e-12 * (points.square().sum(1)[:, None] + others.square().sum(1))
    return squares.where(squares > noise, 0).sqrt()


def clusters(distance: Array, max_clusters: int) -> Clusters:
    """Cluster n >= 2 points by their distances ([n, n], symmetric) into 2 to min(`max_clusters`, n - 1).

    Ward linkage on the rows of the distance matrix, each divided by its maximum; the number of clusters is where the
    gradient of the within-cluster distance over that number has its knee.
    """
    largest = distance.max(1, keepdims=True)
    profiles = np.divide(distance, largest, out=np.zeros_like(distance), where=largest > 0)
    rows = torch.from_numpy(profiles)
    tree = linkage(squareform(distances(rows, rows).numpy(), checks=False), "ward")
    numbers = np.arange(2, max(2, min(max_clusters, len(distance) - 1)) + 1)
    cuts = [fcluster(tree, int(number), "maxclust").astype(np.int64) - 1 for number in numbers]
    order = leaves_list(tree)
    within = within_cluster_distances(profiles, cuts, order)
    chosen = cuts[knee(within) if len(distance) >= FEWEST else int(within.argmin())]
    return Clusters(chosen, numbers, within)


def within_cluster_distances(distance: Array, cuts: list[NDArray[np.int64]], order: NDArray[np.int32]) -> Array:
    """The weighted within-cluster distance of each cut: 1/K times the sum over clusters of more than one point of
    (size / n) times the mean of distance[i, j] over their pairs i < j.

    Args:
        distance: [n, n]; only entries above the diagonal count.
        cuts: labels [n] of each cut.
        order: the points in an order in which every cluster of every cut is contiguous (leaves of the dendrogram).
    """
    upper = np.triu(distance, 1)
    ordered = (upper + upper.T)[np.ix_(order, order)]
    sums = np.zeros((len(order) + 1,) * 2)
    sums[1:, 1:] = ordered.cumsum(0).cumsum(1)
    return np.array([_weighted_mean(sums, labels[order]) for labels in cuts])


def _weighted_mean(sums: Array, labels: NDArray[np.int64]) -> float:
    """Of one cut; `sums` [n + 1, n + 1]: prefix sums of the distances, `labels` [n] in the same order."""
    inner = np.flatnonzero(np.diff(labels)) + 1
    start, end = np.concatenate([[0], inner]), np.concatenate([inner, [len(labels)]])
    size = end - start
    pairs = (sums[end, end] - sums[start, end] - sums[end, start] + sums[start, start]) / 2
    several = size > 1
    means = pairs[several] / (size[several] * (size[several] - 1) / 2)
    return float((size[several] / len(labels) * means).sum() / len(size))


def knee(curve: Array) -> int:
    """Index of the knee of the curve's gradient, seen as an increasing concave curve; ties: the smallest.

    Both axes are scaled to [0, 1], and the knee is where the gradient is farthest above the diagonal. Where the
    gradient is constant: the index of the curve's minimum.
    """
    slope = gradient(curve)
    if len(curve) < 3 or not np.ptp(slope) > 0:
        return int(curve.argmin())
    scaled = (slope - slope.min()) / np.ptp(slope)
    return int((scaled - np.linspace(0, 1, len(curve))).argmax())


def gradient(curve: Array) -> Array:
    """Fourth-order finite differences of a curve at unit steps; plain first differences at its two ends."""
    if len(curve) < 2:
        return np.zeros_like(curve)
    first = np.diff(curve)
    slope = np.append(first, first[-1])
    slope[-2:] = first[-2:]
    if len(curve) > 4:
        slope[2:-2] = (curve[:-4] - 8 * curve[1:-3] + 8 * curve[3:-1] - curve[4:]) / 12
    return slope
