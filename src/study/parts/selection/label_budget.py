"""Spending a budget of labels on a pool: clusters, whose label to buy, and to whom it is handed on.

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


@dataclass(frozen=True)
class Clustering:
    """A pool in clusters: `cluster` [n] int64 of each input (NONE: noise), `centre` [k] int64, each one's inmost input.

    A centre is the input of the pool that lies nearest to the cluster's centroid, be it of the cluster or not.
    """

    cluster: Tensor
    centre: Tensor

    @property
    def noise(self) -> Tensor:
        """Places of the inputs that belong to no cluster."""
        return (self.cluster == NONE).nonzero().flatten()


@dataclass(frozen=True)
class Purchase:
    """Whose labels to buy: `bought` [B] int64, places in the pool; `heir` [n] int64: which of these labels, as a place
    in `bought`, each input of the pool is given (NONE: no label)."""

    bought: Tensor
    heir: Tensor

    def propagated(self, labels: Tensor) -> Tensor:
        """Label of each input of the pool, [n] int64, NONE without one, of `labels` [B], the true ones of `bought`.

        An input whose own label was bought keeps it, whatever cluster it lies in.
        """
        handed_on = torch.where(self.heir == NONE, NONE, labels[self.heir.clamp(min=0)])
        handed_on[self.bought] = labels
        return handed_on

    def family(self, place: int) -> Tensor:
        """Places in the pool of the inputs that the label of `bought[place]` is for, [M], that input first."""
        head = self.bought[place : place + 1]
        members = (self.heir == place).nonzero().flatten()
        return torch.cat([head, members[members != head]])


@dataclass(frozen=True)
class Selection:
    """What is known of the n inputs of a pool, and which others may be learnt from without a label.

    labels: [n] int64, bought or handed on, NONE where there is none; trusted: [n] bool, certain enough without one.
    """

    labels: Tensor
    trusted: Tensor

    @property
    def labelled(self) -> Tensor:
        """Places of the inputs with a label."""
        return (self.labels != NONE).nonzero().flatten()

    def weights(self, uncertainty: Tensor) -> Tensor:
        """How often to draw each input, [n]: 1 with a label, without one 1 - `uncertainty` if trusted, otherwise 0."""
        return torch.where(self.labels != NONE, 1.0, self.trusted * (1 - uncertainty))


def affordable(percent: float, size: int) -> int:
    """Labels that `percent` of a pool of `size` inputs are: rounded down, and no more than there are."""
    return min(size, int(percent * size / 100))


def clustered(
    features: Tensor, budget: int, *, min_samples: int, min_cluster_size: int, average_size: int, seed: int
) -> Clustering:
    """HDBSCAN tells what is noise; k-means cuts the rest into many small clusters, `budget` of them if it can.

    Args:
        features: [n, d] float.
        budget: labels that will be bought.
        min_samples, min_cluster_size: of HDBSCAN.
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
        means = KMeans(count, n_init=10, random_state=seed).fit(points[kept])
        centre = pairwise_distances_argmin(means.cluster_centers_, points)
    cluster[torch.from_numpy(kept)] = torch.from_numpy(means.labels_).long()
    return Clustering(cluster.to(features.device), torch.from_numpy(centre).long().to(features.device))


def _in_dense_regions(points: NDArray[np.float64], min_samples: int, min_cluster_size: int) -> NDArray[np.int64]:
    """Places of the points that HDBSCAN does not call noise; none where it has too few points to tell."""
    if len(points) < max(2, min_samples, min_cluster_size):
        return np.empty(0, dtype=np.int64)
    density = HDBSCAN(min_cluster_size=min_cluster_size, min_samples=min_samples, n_jobs=1, copy=True)
    return np.flatnonzero(density.fit_predict(points) >= 0)


def most_uncertain_clusters(
    clusters: Clustering, uncertainty: Tensor, budget: int, generator: torch.Generator
) -> Purchase:
    """Buy the label of the centre of the clusters that hold most uncertainty, for all of the cluster.

    Where the budget exceeds the inputs in clusters: buy these and some of the noise at random, and hand on nothing;
    where all are noise: the most uncertain ones.

    Args:
        uncertainty: [n].
        budget: labels to buy, at most n.
    """
    size, noise = len(clusters.cluster), clusters.noise
    inside = size - len(noise)
    if not inside:
        log.warning("all %d inputs of the pool are noise: the most uncertain ones are bought one by one", size)
        return one_by_one(uncertainty.argsort(descending=True, stable=True)[:budget], size)
    if budget > inside:
        extra = torch.randperm(len(noise), generator=generator)[: budget - inside].to(noise.device)
        in_clusters = (clusters.cluster != NONE).nonzero().flatten()
        return one_by_one(torch.cat([in_clusters, noise[extra]]), size)
    member = clusters.cluster != NONE
    count = len(clusters.centre)
    score = torch.bincount(clusters.cluster[member], weights=uncertainty[member].double(), minlength=count)
    score[torch.bincount(clusters.cluster[member], minlength=count) == 0] = NONE
    chosen = score.argsort(descending=True, stable=True)[:budget]
    chosen = chosen[score[chosen] != NONE]
    place = torch.full((count,), NONE, device=chosen.device)
    place[chosen] = torch.arange(len(chosen), device=chosen.device)
    return Purchase(clusters.centre[chosen], torch.where(member, place[clusters.cluster.clamp(min=0)], NONE))


def one_by_one(bought: Tensor, size: int) -> Purchase:
    """Buy the labels of the inputs at `bought` [B] of a pool of `size`, each for itself alone."""
    heir = torch.full((size,), NONE, device=bought.device)
    heir[bought] = torch.arange(len(bought), device=bought.device)
    return Purchase(bought, heir)
