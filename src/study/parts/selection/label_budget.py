"""Spending a budget of labels on a pool: its clusters, whose label to buy, and which inputs get it as well.

As in HybridRepair (Li, Chen, Xu, ISSTA 2022), whose released code selects so.
"""

from __future__ import annotations

import logging
import warnings
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.cluster import HDBSCAN, KMeans
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import pairwise_distances_argmin
from threadpoolctl import threadpool_limits
from torch import Tensor

log = logging.getLogger(__name__)

NONE = -1
"""In place of a cluster or a label: there is none."""
STARTS = 10
"""Of k-means. The authors' code leaves it to scikit-learn, where it was 10 (since 1.4: 1, which can miss a group)."""


@dataclass(frozen=True)
class Clustering:
    """A pool of n inputs in k clusters.

    cluster: [n] int64, of each input (NONE: noise); centre: [k] int64, index of the input of the pool that lies nearest
    to each cluster's centroid, be it of the cluster or not.
    """

    cluster: Tensor
    centre: Tensor

    @property
    def noise(self) -> Tensor:
        """Indices of the inputs that belong to no cluster."""
        return (self.cluster == NONE).nonzero().flatten()


@dataclass(frozen=True)
class Purchase:
    """Whose labels to buy from a pool of n inputs, and which inputs get them.

    bought: [B] int64, indices of the inputs whose label is bought; source: [n] int64, for each input of the pool the
    position in `bought` of the label that it gets (NONE: no label).
    """

    bought: Tensor
    source: Tensor

    def propagated(self, labels: Tensor) -> Tensor:
        """Label of each input of the pool, [n] int64, NONE without one, given the true ones of `bought`, [B].

        An input whose own label was bought keeps it, whatever cluster it lies in.
        """
        propagated = torch.where(self.source == NONE, NONE, labels[self.source.clamp(min=0)])
        propagated[self.bought] = labels
        return propagated

    def recipients(self, position: int) -> Tensor:
        """Indices of the inputs that get the label of `bought[position]`, [M], that input first."""
        centre = self.bought[position : position + 1]
        members = (self.source == position).nonzero().flatten()
        return torch.cat([centre, members[members != centre]])


@dataclass(frozen=True)
class Selection:
    """The known labels of a pool of n inputs, and the inputs that may be trained on without a label.

    labels: [n] int64, bought or propagated, NONE where there is none; trusted: [n] bool, certain enough without one.
    """

    labels: Tensor
    trusted: Tensor

    @property
    def labelled(self) -> Tensor:
        """Indices of the inputs with a label."""
        return (self.labels != NONE).nonzero().flatten()

    def weights(self, uncertainty: Tensor) -> Tensor:
        """Sampling weight of each input, [n]: 1 with a label, without one 1 - `uncertainty` if trusted, otherwise 0."""
        return torch.where(self.labels != NONE, 1.0, self.trusted * (1 - uncertainty))


def affordable(percent: float, size: int) -> int:
    """Number of labels in `percent` of a pool of `size` inputs: rounded down, and no more than there are inputs."""
    return min(size, int(percent * size / 100))


def clustered(
    features: Tensor, budget: int, *, min_samples: int, min_cluster_size: int, average_size: int, seed: int
) -> Clustering:
    """HDBSCAN finds the noise; k-means cuts the rest into many small clusters, at least `budget` of them if it can.

    Args:
        features: [n, d] float.
        budget: number of labels that will be bought.
        min_samples, min_cluster_size: of HDBSCAN; a point is not its own neighbour.
        average_size: inputs in a cluster of k-means on average, where that gives enough clusters.
        seed: of k-means.
    """
    points = features.double().cpu().numpy()
    cluster = torch.full((len(points),), NONE)
    with threadpool_limits(limits=1), warnings.catch_warnings():
        # Among identical inputs k-means finds fewer clusters than it was asked for: the others stay empty.
        warnings.simplefilter("ignore", ConvergenceWarning)
        kept = _in_dense_regions(points, min_samples, min_cluster_size)
        if not len(kept):
            return Clustering(cluster.to(features.device), cluster[:0].to(features.device))
        count = max(1, len(kept) // average_size, min(budget, len(kept)))
        means = KMeans(count, n_init=STARTS, random_state=seed).fit(points[kept])
        centre = pairwise_distances_argmin(means.cluster_centers_, points)
    cluster[torch.from_numpy(kept)] = torch.from_numpy(means.labels_).long()
    return Clustering(cluster.to(features.device), torch.from_numpy(centre).long().to(features.device))


def _in_dense_regions(points: NDArray[np.float64], min_samples: int, min_cluster_size: int) -> NDArray[np.int64]:
    """Indices of the points that HDBSCAN does not call noise; none where it has too few points to decide."""
    if len(points) < max(2, min_samples + 1, min_cluster_size):
        return np.empty(0, dtype=np.int64)
    # scikit-learn counts the point itself.
    density = HDBSCAN(min_cluster_size=min_cluster_size, min_samples=min_samples + 1, n_jobs=1, copy=True)
    return np.flatnonzero(density.fit_predict(points) >= 0)


def most_uncertain_clusters(
    clusters: Clustering, uncertainty: Tensor, budget: int, generator: torch.Generator
) -> Purchase:
    """Buy the labels of the centres of the clusters with the largest sums of uncertainty, each for the whole cluster.

    Where the budget exceeds the inputs in clusters: buy these and some of the noise at random, and propagate nothing;
    where all are noise: buy those of the most uncertain inputs.

    Args:
        uncertainty: [n].
        budget: labels to buy, at most n.
    """
    size, noise = len(clusters.cluster), clusters.noise
    in_cluster = clusters.cluster != NONE
    inside = size - len(noise)
    if not inside:
        log.warning("all %d inputs of the pool are noise: the most uncertain ones are bought one by one", size)
        return one_by_one(most_uncertain(uncertainty, budget), size)
    if budget > inside:
        extra = torch.randperm(len(noise), generator=generator)[: budget - inside].to(noise.device)
        return one_by_one(torch.cat([in_cluster.nonzero().flatten(), noise[extra]]), size)
    count = len(clusters.centre)
    score = torch.bincount(clusters.cluster[in_cluster], weights=uncertainty[in_cluster].double(), minlength=count)
    is_empty = torch.bincount(clusters.cluster[in_cluster], minlength=count) == 0
    chosen = most_uncertain(score.where(~is_empty, -torch.inf), budget)
    chosen = chosen[~is_empty[chosen]]
    position = torch.full((count,), NONE, device=chosen.device)
    position[chosen] = torch.arange(len(chosen), device=chosen.device)
    return Purchase(clusters.centre[chosen], torch.where(in_cluster, position[clusters.cluster.clamp(min=0)], NONE))


def most_uncertain(uncertainty: Tensor, budget: int) -> Tensor:
    """Indices of the `budget` largest entries of `uncertainty` [n], largest first (ties: the lower index)."""
    return uncertainty.argsort(descending=True, stable=True)[:budget]


def one_by_one(bought: Tensor, size: int) -> Purchase:
    """Buy the labels of the inputs at the indices `bought` [B] of a pool of `size`, each for itself alone."""
    source = torch.full((size,), NONE, device=bought.device)
    source[bought] = torch.arange(len(bought), device=bought.device)
    return Purchase(bought, source)
