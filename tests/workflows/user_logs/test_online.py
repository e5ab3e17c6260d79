"""A second batch of logs: what stays, what is replaced, and that nothing is judged by what it has learned from."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from reasoning_pipeline.base.jsonl import read_rows
from reasoning_pipeline.errors import DataError
from reasoning_pipeline.workflows.user_logs.choice import Expert
from reasoning_pipeline.workflows.user_logs.clusters import Grouping, Router, as_before
from reasoning_pipeline.workflows.user_logs.logs import ReadLogs
from reasoning_pipeline.workflows.user_logs.online import Before, clearly_better, parted, save_learned
from tests.workflows.user_logs.running import log, run


def test_clusters_keep_their_numbers_whatever_order_they_are_found_in():
    before = np.array([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0]])
    assert as_before(before[[2, 0, 1]] + 0.1, before) == [2, 0, 1]
    assert as_before(before[:2], before) is None
    with pytest.raises(DataError, match="gives 4 numbers, the earlier system's centroids have 2"):
        as_before(np.zeros((3, 4)), before)


@pytest.mark.parametrize(
    ("incumbent", "best", "chosen"),
    [
        # Of 100 logs: 50 wins against 53 is a gain of 0.03, against 52 it is not.
        (50, 53, 1),
        (50, 52, 0),
        (50, 40, 0),
        (None, 10, 1),
    ],
)
def test_an_expert_is_replaced_by_one_that_wins_three_in_a_hundred_more(incumbent, best, chosen):
    def wins(count: int) -> dict[str, float | None]:
        return {f"l{n}": float(n < count) for n in range(100)}

    found = {1: wins(best)} | ({0: wins(incumbent)} if incumbent is not None else {})
    expert = Expert(cluster=0, learned=(), wins=found, selection=tuple(wins(0)), acceptance=())
    assert expert.chosen() == chosen


def test_a_critic_is_replaced_by_a_loss_that_is_clearly_lower():
    assert clearly_better(0.79, 1.0) and not clearly_better(0.8, 1.0) and not clearly_better(1.2, 1.0)


def test_what_was_learned_from_is_not_held_out():
    members = [f"l{n}" for n in range(20)]
    learned = set(members[:12])
    train, held = parted(members, learned, 42, 0.5)
    assert not learned & set(held) and len(held) == 4 and sorted([*train, *held]) == sorted(members)
    assert len(parted(members, set(members), 42, 0.5)[1]) == 10  # all of it: better than nothing held out


def test_a_batch_continues_the_system_that_its_clusters_continue(tmp_path: Path):
    folder = tmp_path / "choose_modules-1"
    (folder / "adapters/expert-2").mkdir(parents=True)
    kept = Grouping(labels={"a": 0}, embedder=None, embedding={}, continues=folder.name)
    with pytest.raises(DataError, match=r"no learned\.json"):
        Before.of(folder, kept)
    save_learned(folder, [["b"], None])
    assert not (folder / "learned.json").exists()
    save_learned(folder, [["b"], ("a", "b")])
    before = Before.of(folder, kept)
    assert before is not None and before.learned == {"a", "b"}
    assert before.adapter("expert", 2) == folder / "adapters/expert-2" and before.adapter("critic", 2) is None
    assert Before.of(folder, Grouping(labels={"a": 0}, embedder=None, embedding={})) is None
    with pytest.raises(DataError, match="continue choose_modules-1, and `before` names choose_modules-2"):
        Before.of(tmp_path / "choose_modules-2", kept)


def test_rules_of_the_first_batch_are_kept_and_the_second_is_read(tmp_path: Path):
    first, second = tmp_path / "1", tmp_path / "2"
    for folder in (first, second):
        folder.mkdir()
    asked = "write letter about stone river lamp"
    ReadLogs(logs=[log("a", asked, "please end with birch next time")], set_aside=[]).save(first)
    again = log("a", asked, "please start with cedar next time")
    ReadLogs(logs=[again, log("b", asked, "you should start with amber")], set_aside=[]).save(second)
    rules = run("extract_rules", first, {"logs": first}, by="small_world")
    both = run("extract_rules", second, {"logs": second, "before": rules.folder}, by="small_world")
    found = {row["id"]: row["rules"] for row in read_rows(both.folder / "rules.jsonl")}
    assert found == {"a": ["end with birch"], "b": ["start with amber"]}
    assert both.result["kept"] == 2
    assert [row["id"] for row in read_rows(both.folder / "logs.jsonl")] == ["a", "b"]


@pytest.mark.parametrize(("kinds", "kept"), [(2, True), (3, False)])
def test_centroids_stay_while_the_number_of_clusters_does(tmp_path: Path, kinds: int, kept: bool):
    words = ("write letter about", "cook dish about", "sing verse about")
    asked = [(f"{words[n % kinds]} stone river {n}", f"please start with {['amber', 'birch', 'cedar'][n % kinds]}")
             for n in range(12)]  # fmt: skip
    logs = tmp_path / "logs"
    logs.mkdir()
    ReadLogs(logs=[log(f"l{n}", query, said) for n, (query, said) in enumerate(asked)], set_aside=[]).save(logs)
    rules = run("extract_rules", tmp_path, {"logs": logs}, by="small_world")
    system = tmp_path / "choose_modules-1"
    system.mkdir()
    centroids = np.random.default_rng(0).standard_normal((2, 256)).astype(np.float32)
    Router(centroids, unseen_distance=1.2).save(system)
    found = run(
        "cluster_logs",
        tmp_path,
        {"rules": rules.folder, "before": system},
        embedding={"by": "words"},
        ward_increment=0.9,
        of_logs=None,
    )
    values = json.loads((found.folder / "clusters.json").read_text())
    assert len(set(values["labels"].values())) == kinds
    assert values["continues"] == ("choose_modules-1" if kept else None)
    now = Router.load(found.folder, unseen_distance=1.2).centroids
    assert (now.shape == centroids.shape and np.allclose(now, centroids)) == kept
