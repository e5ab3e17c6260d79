"""Clusters of logs by query and rules together; a new query finds its cluster by the query alone.

A log's feature is v = n([n(e(q)); n(e(R))]), with n the L2 norm and R the rules, a line each. Agglomeration by Ward's
criterion joins the two clusters whose union raises the sum of squares least; for two clusters of sizes a and b with
centres x and y that increment is ab / (a + b) · |x - y|², and the height that libraries report is sqrt(2 · increment)
(Ward, JASA 58, 1963; scipy.cluster.hierarchy.ward). The two names are kept apart here: the paper stops at an increment
of 4, its released code at a height of 4, which is an increment of 8.

At serving time there are no rules yet, so a cluster's centroid is the mean of n(e(q)) over its members.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from reasoning_pipeline.errors import DataError

CLUSTERS_FILE, CENTROIDS_FILE = "clusters.json", "centroids.npy"


def height_of(increment: float) -> float:
    """The height in a dendrogram at which the sum of squares rises by `increment`."""
    return float(np.sqrt(2.0 * increment))


def normalised(vectors: np.ndarray) -> np.ndarray:
    """Rows of length 1; a row of zeros stays one."""
    lengths = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return vectors / np.where(lengths == 0, 1.0, lengths)


def dual_features(queries_ND: np.ndarray, rules_ND: np.ndarray) -> np.ndarray:
    """[N, 2D], rows of length 1."""
    return normalised(np.concatenate([normalised(queries_ND), normalised(rules_ND)], axis=1))


def ward_labels(features_ND: np.ndarray, *, height: float) -> np.ndarray:
    """Cluster of each row, numbered from 0 by size, the largest first; ties by the first member."""
    if len(features_ND) < 2:
        return np.zeros(len(features_ND), dtype=int)
    from scipy.cluster.hierarchy import fcluster, ward

    raw = fcluster(ward(features_ND), t=height, criterion="distance")
    names, first, counts = np.unique(raw, return_index=True, return_counts=True)
    order = sorted(range(len(names)), key=lambda at: (-counts[at], first[at]))
    renamed = {int(names[at]): number for number, at in enumerate(order)}
    return np.array([renamed[int(label)] for label in raw])


def centroids(queries_ND: np.ndarray, labels_N: np.ndarray) -> np.ndarray:
    """[C, D]: means of normalised queries, never of rules. Not normalised again: a loose cluster's centre is short."""
    unit = normalised(queries_ND)
    return np.stack([unit[labels_N == cluster].mean(axis=0) for cluster in range(int(labels_N.max()) + 1)])


def as_before(found_CD: np.ndarray, before_CD: np.ndarray) -> list[int] | None:
    """For each cluster that was found, which of the earlier ones it is: all together move least (the assignment
    problem). None where their number has changed, so that nothing can be kept.

    Raises DataError for centroids of another embedder.
    """
    from scipy.optimize import linear_sum_assignment

    if found_CD.shape[1] != before_CD.shape[1]:
        raise DataError(
            f"the embedder gives {found_CD.shape[1]} numbers, the earlier system's centroids have {before_CD.shape[1]}",
            remedy="continue with the embedder that it was made with",
        )
    if len(found_CD) != len(before_CD):
        return None
    moved_CC = np.linalg.norm(found_CD[:, None] - before_CD[None], axis=-1)
    return [int(cluster) for cluster in linear_sum_assignment(moved_CC)[1]]


@dataclass(frozen=True, kw_only=True)
class Route:
    """Example: Route(cluster=2, distance=0.61); no cluster where the nearest is further than `unseen_distance`."""

    cluster: int | None
    distance: float


class Router:
    """Which cluster a query belongs to. It is given queries and nothing else."""

    def __init__(self, centroids_CD: np.ndarray, *, unseen_distance: float) -> None:
        self.centroids, self.unseen_distance = centroids_CD, unseen_distance

    def route(self, queries_ND: np.ndarray) -> list[Route]:
        """Raises DataError for an embedder of another dimension than the centroids'."""
        if queries_ND.shape[-1] != self.centroids.shape[-1]:
            raise DataError(
                f"the embedder gives {queries_ND.shape[-1]} numbers, the stored centroids have "
                f"{self.centroids.shape[-1]}",
                remedy="route with the embedder that the clusters were made with, or cluster again",
            )
        distances_NC = np.linalg.norm(normalised(queries_ND)[:, None, :] - self.centroids[None], axis=-1)
        nearest = distances_NC.argmin(axis=1)
        return [
            Route(cluster=int(cluster) if row[cluster] <= self.unseen_distance else None, distance=float(row[cluster]))
            for row, cluster in zip(distances_NC, nearest, strict=True)
        ]

    def save(self, folder: Path) -> None:
        np.save(folder / CENTROIDS_FILE, self.centroids.astype(np.float32), allow_pickle=False)

    @classmethod
    def load(cls, folder: Path, *, unseen_distance: float) -> Router:
        return cls(np.load(folder / CENTROIDS_FILE, allow_pickle=False), unseen_distance=unseen_distance)


@dataclass(frozen=True, kw_only=True)
class Grouping:
    """Which log is in which cluster.

    Example: Grouping(labels={"s-17": 0, "s-18": 1}, embedder=None, embedding={"by": "words"})."""

    labels: dict[str, int]
    embedder: str | None
    embedding: dict[str, Any]
    continues: str | None = None
    """The system whose centroids these are, where they were kept."""

    @property
    def count(self) -> int:
        return max(self.labels.values()) + 1

    def members(self, cluster: int, among: dict[str, Any]) -> list[str]:
        """Names of `among` that stand in a cluster."""
        return [name for name in among if self.labels.get(name) == cluster]

    @classmethod
    def load(cls, folder: Path) -> Grouping:
        values = json.loads((folder / CLUSTERS_FILE).read_text(encoding="utf-8"))
        known = {name: values.get(name) for name in ("labels", "embedder", "embedding", "continues")}
        return cls(**known)


def split(ids: Iterable[str], seed: int, share: float) -> tuple[list[str], list[str]]:
    """A part of this size and the rest: sorted, shuffled by the seed, cut. Both get at least one where there are two.

    Example: split(["c", "a", "b", "d", "e"], 42, 0.8) gives four and one.
    """
    ordered = sorted(ids)
    random.Random(seed).shuffle(ordered)
    size = max(1, min(round(share * len(ordered)), len(ordered) - 1))
    return ordered[:size], ordered[size:]
