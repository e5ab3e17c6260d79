"""K-means on directions, rows of length 1: groups of what is alike, and the row that stands for each."""

from __future__ import annotations

import numpy as np

ROUNDS = 20


def centroids_of(rows_NX: np.ndarray, count: int, seed: int = 0) -> np.ndarray:
    """[at most count, X], of length 1: spherical k-means (Dhillon and Modha, Machine Learning 42, 2001) from
    k-means++ starts (Arthur and Vassilvitskii, SODA 2007)."""
    rng = np.random.default_rng(seed)
    chosen = [int(rng.integers(len(rows_NX)))]
    distance = 1 - rows_NX @ rows_NX[chosen[0]]
    while len(chosen) < min(count, len(rows_NX)):
        weight = np.clip(distance, 0, None)
        if weight.sum() <= 1e-9:  # fewer different rows than centroids
            break
        chosen.append(int(rng.choice(len(rows_NX), p=weight / weight.sum())))
        distance = np.minimum(distance, 1 - rows_NX @ rows_NX[chosen[-1]])
    centroids = rows_NX[chosen].copy()
    for _ in range(ROUNDS):
        nearest = cluster_of(rows_NX, centroids)
        for number in range(len(centroids)):
            total = rows_NX[nearest == number].sum(axis=0)
            if (length := float(np.linalg.norm(total))) > 1e-9:
                centroids[number] = total / length
    return centroids


def cluster_of(rows_NX: np.ndarray, centroids_KX: np.ndarray) -> np.ndarray:
    """[N]: the nearest centroid of each row."""
    return np.asarray((rows_NX @ centroids_KX.T).argmax(axis=1))


def representatives(rows_NX: np.ndarray, count: int, seed: int) -> list[int]:
    """The row nearest to each centroid, in the rows' order; all of them where there are no more."""
    if len(rows_NX) <= count:
        return list(range(len(rows_NX)))
    near = rows_NX @ centroids_of(rows_NX, count, seed).T
    return sorted({int(row) for row in near.argmax(axis=0)})
