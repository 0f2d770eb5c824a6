"""Search for an unknown artefact by looks: kinds of masked crops that a class falls into.

A class that is recognised now by its object and now by a mark has masked crops of two kinds.
Features of the crops are clustered spectrally, their number is read off the eigengap, and a
clustering counts only if it comes out again from other samples (after SpRAy, Lapuschkin et al.
2019; affinities of Zelnik-Manor and Perona 2004, embedding of Ng, Jordan and Weiss 2002). A cluster
is a suspicion: an intervention has to confirm it.
"""

from dataclasses import dataclass

import numpy as np
from scipy.cluster.vq import ClusterError, kmeans2
from scipy.linalg import eigh
from scipy.spatial.distance import cdist

_NEIGHBOUR = 7  # whose distance is the local scale (Zelnik-Manor and Perona)
_RESTARTS = 10
_KEPT = 0.8  # of the samples in each resample of the stability


@dataclass(frozen=True, eq=False)
class Clusters:
    """What `clusters` finds.

    Attributes:
        labels: `(n,)` cluster of each sample, 0 for the largest.
        sizes: `(k,)` number of samples of each.
        eigenvalues: Lowest of the normalised Laplacian, ascending.
        eigengap: The gap after the k-th of them; 1 for k clusters without any link.
        silhouette: Mean silhouette of the features, -1 to 1; None for one cluster.
        stability: Mean adjusted Rand index with clusterings of 80 % of the samples; None for one
            cluster. Near 1 the clusters are there, near 0 they were made up.
    """

    labels: np.ndarray
    sizes: np.ndarray
    eigenvalues: np.ndarray
    eigengap: float
    silhouette: float | None
    stability: float | None


def clusters(features: np.ndarray, most: int = 8, n_resamples: int = 20, seed: int = 0) -> Clusters:
    """Cluster samples; how many clusters there are is found too.

    Args:
        features: `(n, d)`, finite, n >= 8; time grows with n³, so take up to 2,000 samples.
        most: Number of clusters at most.
        n_resamples: Number of resamples of the stability.
        seed: Seed of k-means and of the resamples.

    Raises:
        ValueError: Fewer than 8 samples, or features that are not finite.
    """
    table = np.asarray(features, dtype=np.float64)
    if len(table) <= _NEIGHBOUR or not np.isfinite(table).all():
        raise ValueError(f"{len(table)} samples: more than {_NEIGHBOUR}, all finite, are needed")
    rng = np.random.default_rng(seed)
    distances = cdist(table, table)
    values, vectors = _spectrum(distances, min(most, len(table) - 1) + 1)
    gaps = np.diff(values)
    k = int(gaps.argmax()) + 1
    labels = _by_size(_partition(vectors[:, :k], rng))
    again = []
    for _ in range(n_resamples if k > 1 else 0):
        kept = rng.permutation(len(table))[: max(int(_KEPT * len(table)), _NEIGHBOUR + 1)]
        _, embedded = _spectrum(distances[np.ix_(kept, kept)], k)
        again.append(rand_index(labels[kept], _partition(embedded, rng)))
    return Clusters(
        labels,
        np.bincount(labels),
        values,
        float(gaps[k - 1]),
        silhouette(distances, labels) if labels.any() else None,
        float(np.mean(again)) if again else None,
    )


def representatives(features: np.ndarray, labels: np.ndarray, count: int) -> list[np.ndarray]:
    """The samples nearest to the mean of each cluster, for somebody to look at.

    Args:
        features: `(n, d)`.
        labels: `(n,)` clusters from 0 on.
        count: Number of samples a cluster.

    Returns:
        One array of up to `count` indices a cluster, the nearest first.
    """
    found = []
    for cluster in range(int(labels.max()) + 1):
        members = np.flatnonzero(labels == cluster)
        away = np.linalg.norm(features[members] - features[members].mean(axis=0), axis=1)
        found.append(members[np.argsort(away, kind="stable")[:count]])
    return found


def silhouette(distances: np.ndarray, labels: np.ndarray) -> float:
    """Mean silhouette (b - a) / max(a, b) (Rousseeuw 1987); 0 of a sample alone in its cluster.

    Args:
        distances: `(n, n)`.
        labels: `(n,)` clusters from 0 on, at least two.

    >>> points = np.array([[0.0], [1.0], [10.0], [11.0]])
    >>> round(silhouette(cdist(points, points), np.array([0, 0, 1, 1])), 3)
    0.9
    """
    member = np.eye(int(labels.max()) + 1)[labels]
    sizes, sums = member.sum(axis=0), distances @ member
    own = np.arange(len(labels)), labels
    alone = sizes[labels] == 1
    a = sums[own] / np.where(alone, 1, sizes[labels] - 1)
    others = sums / sizes
    others[own] = np.inf
    b = others.min(axis=1)
    larger = np.maximum(a, b)
    return float(np.where(alone, 0, (b - a) / np.where(larger > 0, larger, 1)).mean())


def rand_index(first: np.ndarray, second: np.ndarray) -> float:
    """Adjusted Rand index of two clusterings (Hubert and Arabie 1985): 1 the same, 0 by chance.

    Args:
        first: `(n,)` clusters from 0 on.
        second: `(n,)`, of the same samples.

    >>> rand_index(np.array([0, 0, 1, 1]), np.array([1, 1, 0, 0]))
    1.0
    """
    table = np.eye(int(first.max()) + 1)[first].T @ np.eye(int(second.max()) + 1)[second]
    pairs = [(c * (c - 1) / 2).sum() for c in (table, table.sum(axis=1), table.sum(axis=0))]
    together, one, two = (float(p) for p in pairs)
    n = len(first)
    expected, largest = one * two / (n * (n - 1) / 2), (one + two) / 2
    return 1.0 if largest == expected else (together - expected) / (largest - expected)


def _spectrum(distances: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Lowest eigenvalues `(count,)` of the normalised Laplacian and eigenvectors `(n, count)`."""
    scale = np.partition(distances, _NEIGHBOUR, axis=1)[:, _NEIGHBOUR]
    product = np.outer(scale, scale)
    # Samples that more than seven others equal have no scale: they are linked to these alone.
    linked = np.exp(-(distances**2) / np.where(product > 0, product, 1))
    affinity = np.where(product > 0, linked, (distances == 0).astype(np.float64))
    np.fill_diagonal(affinity, 0)
    degree = np.maximum(affinity.sum(axis=1), 1e-12)
    normal = affinity / np.sqrt(np.outer(degree, degree))
    values, vectors = eigh(np.eye(len(normal)) - normal, subset_by_index=[0, count - 1])
    return values, vectors


def _partition(vectors: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """`(n,)` clusters of the rows `(n, k)` by k-means, the best of several beginnings."""
    k = vectors.shape[1]
    if k == 1:
        return np.zeros(len(vectors), dtype=np.int64)
    rows = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    best, found = np.inf, np.zeros(len(rows), dtype=np.int64)
    for _ in range(_RESTARTS):
        seed = int(rng.integers(2**31))
        try:
            centres, labels = kmeans2(rows, k, iter=50, minit="++", missing="raise", seed=seed)
        except ClusterError:  # a cluster ran empty; another beginning fares better
            continue
        cost = float(((rows - centres[labels]) ** 2).sum())
        if cost < best:
            best, found = cost, labels
    return found


def _by_size(labels: np.ndarray) -> np.ndarray:
    """The same clusters, numbered from the largest to the smallest."""
    _, dense, sizes = np.unique(labels, return_inverse=True, return_counts=True)
    return np.argsort(np.argsort(-sizes, kind="stable"))[dense]
