"""Ward's criterion, dual features, and routing by the query alone."""

from __future__ import annotations

import inspect

import numpy as np
import pytest

from reasoning_pipeline.errors import DataError
from reasoning_pipeline.recipe.workflows import stage_module
from reasoning_pipeline.workflows.user_logs.clusters import (
    Route,
    Router,
    centroids,
    dual_features,
    height_of,
    split,
    ward_labels,
)

E = np.eye(4, dtype=np.float32)


def test_an_increment_is_half_the_height_squared():
    # clusters {0, 0} and {3}: 2 · 1 / 3 · 3² = 6 more of the sum of squares, so a height of sqrt(12)
    points = np.array([[0.0], [0.0], [3.0]])
    assert height_of(6.0) ** 2 / 2 == pytest.approx(6.0)
    assert len(set(ward_labels(points, height=height_of(6.0) + 1e-6))) == 1
    assert len(set(ward_labels(points, height=height_of(6.0) - 1e-6))) == 2
    assert height_of(8.0) == pytest.approx(4.0) and height_of(4.0) == pytest.approx(2.8284, abs=1e-4)


def test_a_cut_in_the_recipe_is_scaled_with_the_logs():
    config = stage_module("cluster_logs").Config
    words = {"rules": "step:rules", "embedding": {"by": "words"}}
    assert config(**words).height(600) == pytest.approx(height_of(4.0))
    assert config(**words).height(150) == pytest.approx(height_of(1.0))
    assert config(**words, ward_increment=8.0, of_logs=None).height(150) == pytest.approx(4.0)
    assert config(**words, ward_height=4.0).height(150) == 4.0
    with pytest.raises(ValueError, match="give one"):
        config(**words, ward_height=4.0, ward_increment=8.0)


def test_features_are_of_query_and_rules_alike():
    features = dual_features(np.array([[3.0, 0], [0, 2]]), np.array([[0, 5.0], [0, 7]]))
    assert np.linalg.norm(features, axis=1) == pytest.approx([1, 1])
    assert features[0] @ features[1] == pytest.approx(0.5)  # the same rules, another query


def test_centroids_are_means_of_queries_and_clusters_are_numbered_by_size():
    queries = np.array([E[0] * 2, E[1], E[1] * 3, E[1]])
    labels = ward_labels(queries, height=0.5 + 1e-9)
    labels = ward_labels(dual_features(queries, queries), height=0.5)
    assert labels.tolist() == [1, 0, 0, 0]
    assert centroids(queries, labels).tolist() == [E[1].tolist(), E[0].tolist()]


def test_a_query_goes_to_the_nearest_centroid_or_to_none():
    router = Router(np.stack([E[0], E[1]]), unseen_distance=1.2)
    near, far = router.route(np.array([[0.0, 5, 1, 0], [0, 0, 0, 2]]))
    assert near.cluster == 1 and near.distance == pytest.approx(0.1970, abs=1e-3)
    assert far == Route(cluster=None, distance=pytest.approx(2**0.5))
    on_the_line = Router(E[:1], unseen_distance=float(np.sqrt(np.float32(2)))).route(E[1:2])
    assert on_the_line[0].cluster == 0  # at the distance itself the cluster still answers


def test_the_router_never_sees_rules():
    assert list(inspect.signature(Router.route).parameters) == ["self", "queries_ND"]


def test_an_embedder_of_another_dimension_is_refused():
    with pytest.raises(DataError, match="the embedder gives 3 numbers, the stored centroids have 4"):
        Router(E, unseen_distance=1.2).route(np.zeros((1, 3)))


def test_splits_follow_the_seed_and_leave_nobody_out():
    names = [f"s{i}" for i in range(10)]
    train, held = split(names, 42, 0.8)
    assert (len(train), len(held)) == (8, 2) and sorted(train + held) == sorted(names)
    assert split(reversed(names), 42, 0.8) == (train, held) != split(names, 43, 0.8)
    assert [len(part) for part in split(["a", "b"], 0, 0.9)] == [1, 1]


def test_one_log_and_one_giant_cluster_are_clusters():
    assert ward_labels(E[:1], height=1.0).tolist() == [0]
    assert ward_labels(np.repeat(E[:1], 50, axis=0), height=1e-6).tolist() == [0] * 50
