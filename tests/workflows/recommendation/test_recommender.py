"""Masks, losses, both phases, what is published, what is served."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file
from starlette.testclient import TestClient

from reasoning_pipeline.base.jsonl import lines
from reasoning_pipeline.errors import Stopped
from reasoning_pipeline.hardware.profile import load_profile
from reasoning_pipeline.registry.resolve import ResolvedModel
from reasoning_pipeline.workflows.recommendation.bundle import Bundle, is_recommender
from reasoning_pipeline.workflows.recommendation.histories import Histories, of_domain
from reasoning_pipeline.workflows.recommendation.in_use import Recommending
from reasoning_pipeline.workflows.recommendation.learning import Validation, negatives_of
from reasoning_pipeline.workflows.recommendation.reading import finished
from reasoning_pipeline.workflows.recommendation.sasrec import (
    Backbone,
    Items,
    alignment_loss,
    last_states,
    next_item_loss,
    padded,
)
from reasoning_pipeline.workflows.recommendation.serving import Recommender, application
from reasoning_pipeline.workflows.recommendation.settings import About, Rankings, Size
from reasoning_pipeline.workflows.recommendation.stages import pretrain_recommender, tune_domains
from reasoning_pipeline.workflows.recommendation.world import World, make
from tests.workflows.recommendation.small import context, directions, inputs_of

SIZE = Size(width=8, heads=2, blocks=2, dropout=0.0, max_length=12)


def backbone(*, causal: bool = True) -> tuple[Items, Backbone]:
    torch.manual_seed(0)
    items = Items(torch.from_numpy(directions(30)), "text+id", SIZE.width)
    return items, Backbone(SIZE, causal=causal).eval()


def states(items: Items, model: Backbone, ids: list[list[int]]) -> torch.Tensor:
    given = torch.tensor(ids)
    with torch.no_grad():
        return model(items(given), given)


def test_a_later_item_cannot_change_an_earlier_state_unless_the_mask_is_left_away():
    for causal in (True, False):
        items, model = backbone(causal=causal)
        one, other = states(items, model, [[3, 4, 5, 6]]), states(items, model, [[3, 4, 5, 9]])
        assert torch.equal(one[:, :3], other[:, :3]) == causal
        assert not torch.equal(one[:, 3], other[:, 3])


def test_padding_left_or_right_gives_the_same_states():
    items, model = backbone()
    right, left = states(items, model, [[3, 4, 5, 0, 0]]), states(items, model, [[0, 0, 3, 4, 5]])
    torch.testing.assert_close(right[:, :3], left[:, 2:])
    torch.testing.assert_close(right[:, :3], states(items, model, [[3, 4, 5]]))
    assert torch.isfinite(states(items, model, [[0, 0, 0]])).all()


def test_the_last_state_is_that_of_the_last_real_item():
    rows = torch.arange(6.0).reshape(1, 3, 2)
    assert last_states(rows, torch.tensor([[1, 2, 0]])).tolist() == [[2.0, 3.0]]
    assert last_states(rows, torch.tensor([[0, 0, 0]])).tolist() == [[0.0, 0.0]]


def test_histories_are_cut_at_their_beginning():
    assert padded([[0, 1, 2, 3], [7]], 3).tolist() == [[2, 3, 4], [8, 0, 0]]


def test_the_loss_by_hand():
    state, wanted, negative = torch.ones(1, 1, 2), torch.full((1, 1, 2), 0.5), torch.zeros(1, 1, 2)
    total, count = next_item_loss(state, wanted, negative, torch.tensor([[True]]))
    # -log sigmoid(1) = 0.3133, -log(1 - sigmoid(0)) = 0.6931
    assert float(total) == pytest.approx(0.3133 + 0.6931, abs=1e-4) and int(count) == 1


def test_alignment_moves_the_loss_and_is_least_where_users_are_like_their_profiles():
    users = torch.eye(4)
    near = alignment_loss(users, users, tau=0.1, normalise=True)
    far = alignment_loss(users, users.roll(1, 0), tau=0.1, normalise=True)
    # softmax over one 10 and three 0: log p = -0.0001 and -10.0001; the targets have p = 0.99986
    assert float(near) == pytest.approx(0.0015, abs=1e-3) and float(far) == pytest.approx(10, abs=0.01)
    moved = torch.randn(4, 4, requires_grad=True, generator=torch.manual_seed(0))
    alignment_loss(moved, users, tau=0.1, normalise=True).backward()
    assert moved.grad is not None and float(moved.grad.abs().max()) > 1e-3


def test_negatives_are_of_the_wanted_items_domain_and_reach_its_last_item():
    domain_N = np.array([0] * 5 + [1] * 3)
    wanted = torch.tensor([[1, 6, 0]]).repeat(200, 1)
    drawn = negatives_of(wanted, domain_N, np.random.default_rng(0))
    assert set(drawn[:, 0].tolist()) == {1, 2, 3, 4, 5} and set(drawn[:, 1].tolist()) == {6, 7, 8}
    assert set(drawn[:, 2].tolist()) == {0}


@pytest.mark.parametrize("sees", ["text", "id", "text+id"])
def test_an_items_vector_comes_from_what_it_is_said_to_see(sees: Any):
    items = Items(torch.from_numpy(directions(30)), sees, 8)
    assert ("first.weight" in items.state_dict()) == ("text" in sees)
    assert ("ids.weight" in items.state_dict()) == ("id" in sees)
    assert items.table().shape == (31, 8) and not items.table()[0].any()


# Both phases in a tiny world


def tiny_world() -> Histories:
    found, _ = make(World(users=60, items_A=48, items_B=40, share_B=0.4))
    return finished(found, user_core=0, item_core=0)


@pytest.fixture(scope="module")
def world() -> Histories:
    return tiny_world()


def given(world: Histories, folder: Path) -> dict[str, Path]:
    """What phase 1 reads; profiles of chance."""
    inputs = inputs_of(folder, world, directions(len(world.items)))
    profiles = {"profiles": directions(len(world.users), seed=1), "centroids": directions(4)}
    save_file(profiles, folder / "profiles.safetensors")
    (folder / "profiles.jsonl").write_text(lines({"user": user.user} for user in world.users))
    return inputs | {"profiles": folder}


def phase_1(world: Histories, work: Path, epochs: int = 2, **own: Any) -> Bundle:
    config = pretrain_recommender.Config(histories="h", items="i", **SIZE.model_dump(), epochs=epochs, batch=32)
    outcome = pretrain_recommender.run(config, context(work, inputs=given(world, work / "in"), **own))
    assert outcome.result["epochs"] == epochs
    return Bundle.load(outcome.folder)


def phase_2(bundle: Bundle, world: Histories, work: Path, epochs: int) -> Bundle:
    inputs = inputs_of(work / "in", world, directions(len(world.items))) | {"policy": work / "policy"}
    inputs["policy"].mkdir()
    bundle.save(inputs["policy"])
    settings = {"epochs": epochs, "batch": 32, "adapter": 4, "learning_rate": 0.05}
    config = tune_domains.Config(policy="p", histories="h", items="i", **settings)
    return Bundle.load(tune_domains.run(config, context(work, inputs=inputs)).folder)


@pytest.fixture(scope="module")
def first(world: Histories, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return phase_1(world, tmp_path_factory.mktemp("phase1"))


def test_phase_2_leaves_every_tensor_of_the_backbone_as_it_was(
    first: Bundle, world: Histories, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    better = itertools.count()  # every epoch is the best so far, so that what was learned is kept
    monkeypatch.setattr(Validation, "of", lambda self, trained: float(next(better)))
    second = phase_2(first, world, tmp_path, epochs=2)
    for name, weight in first.weights.items():
        assert np.array_equal(weight, second.weights[name]), name
    untrained = phase_2(first, world, tmp_path / "none", epochs=0)
    moved = [name for name in second.weights if not np.array_equal(second.weights[name], untrained.weights[name])]
    assert moved and all(name.startswith("adapters.") for name in moved)
    assert any("positions" in name for name in moved)


def test_the_untrained_score_is_the_sum_of_both_paths_and_not_phase_1s(first: Bundle, world: Histories, tmp_path: Path):
    both, alone = phase_2(first, world, tmp_path, epochs=0).scorer(), first.scorer()
    history = next(user.items for user in world.users if len(set(world.domain_N[list(user.items)])) == 2)
    for domain in (0, 1):
        own = tuple(of_domain(history, world.domain_N, domain))
        expected = (
            alone.queries([history], [domain]) @ alone.items_ND.T + alone.queries([own], [domain]) @ alone.items_ND.T
        )
        found = both.queries([history], [domain]) @ both.items_ND.T
        assert np.allclose(found, expected, atol=1e-5)
        assert not np.allclose(found, alone.queries([history], [domain]) @ alone.items_ND.T, atol=1e-3)


def test_a_user_without_an_item_of_the_domain_gets_phase_1s_score(first: Bundle, world: Histories, tmp_path: Path):
    both, alone = phase_2(first, world, tmp_path, epochs=0).scorer(), first.scorer()
    own = (0, 1, 2)
    assert {int(world.domain_N[item]) for item in own} == {0}
    assert np.array_equal(both.queries([own], [1]), alone.queries([own], [1]))


def test_a_missing_phase_1_is_an_error(world: Histories, tmp_path: Path):
    empty = Bundle(About(kind="popularity"), world, directions(len(world.items)), world.counts_N, directions(4))
    empty.save(tmp_path)
    work = context(tmp_path / "work", inputs={"policy": tmp_path})
    config = tune_domains.Config(policy="p", histories="h", items="i")
    with pytest.raises(Exception, match="a popularity recommender has no pretrained backbone") as error:
        tune_domains.run(config, work)
    assert "pretrain_recommender" in str(error.value)
    (tmp_path / "nothing").mkdir()
    with pytest.raises(Exception, match="nothing is no recommender"):
        tune_domains.run(config, context(tmp_path / "work", inputs={"policy": tmp_path / "nothing"}))


def test_a_killed_training_ends_as_an_uninterrupted_one(world: Histories, tmp_path: Path):
    whole = phase_1(world, tmp_path / "whole", epochs=3)
    batches: list[int] = []

    def stop() -> None:
        batches.append(1)
        if len(batches) == 4:  # in the second epoch
            raise Stopped("enough")

    with pytest.raises(Stopped):
        phase_1(world, tmp_path / "cut", epochs=3, stop_if_asked=stop)
    again = phase_1(world, tmp_path / "cut", epochs=3, stop_if_asked=stop)
    assert len(batches) == 4 + 2 * 2  # 60 users make two batches; the first epoch is not done again
    for name, weight in whole.weights.items():
        assert np.array_equal(weight, again.weights[name]), name


def test_a_bundle_survives_the_disk(first: Bundle, tmp_path: Path):
    first.save(tmp_path)
    again = Bundle.load(tmp_path)
    assert is_recommender(tmp_path) and again.about == first.about
    case = first.histories.users[0].items
    assert np.array_equal(again.scorer().queries([case], [0]), first.scorer().queries([case], [0]))


# In use


def test_evals_rank_a_bundle_beside_popularity_and_title_cosine(first: Bundle, tmp_path: Path, monkeypatch: Any):
    monkeypatch.setattr(Recommending, "asked", Rankings(negatives=20))
    first.save(tmp_path)
    model = ResolvedModel(folder=tmp_path, name="mixed", fingerprint="f", prompt=None)
    said = Recommending().evaluate(model, tmp_path / "out", profile=load_profile("cpu"), seed=0)
    assert [line.split()[0] for line in said.splitlines()] == ["ranking", "uniform", "popularity", "full"]
    assert "title_cosine" in said
    found = json.loads((tmp_path / "out" / "ranking.json").read_text())["suites"]["uniform"]
    assert found["problems"] == 60 and {"domain A", "domain B"} <= set(found["groups"])
    assert set(found["beside"]) == {"popularity", "title_cosine", "chance"}
    assert (tmp_path / "out" / "full" / "problems.csv").read_text().count("\n") == 61


@pytest.fixture(scope="module")
def client(first: Bundle) -> TestClient:
    return TestClient(application(Recommender(first, "mixed"), "k" * 20))


def asked(client: TestClient, body: Any, key: str = "k" * 20) -> tuple[int, dict[str, Any]]:
    content = body if isinstance(body, str) else json.dumps(body)
    answer = client.post("/recommend", content=content, headers={"Authorization": f"Bearer {key}"})
    return answer.status_code, answer.json()


def test_a_history_gets_ranked_items_with_scores_and_the_profile(client: TestClient):
    status, answer = asked(client, {"history": ["A0", "B1", "A2"], "count": 5})
    assert status == 200 and set(answer["ranked"]) == {"A", "B"}
    for domain, items in answer["ranked"].items():
        assert len(items) == 5 and all(item["id"].startswith(domain) for item in items)
        assert [item["score"] for item in items] == sorted((item["score"] for item in items), reverse=True)
        assert not {item["id"] for item in items} & {"A0", "B1", "A2"}
    assert answer["profile"]["in_score"] is False and "A: " in answer["profile"]["text"]
    assert set(asked(client, {"history": ["A0"], "domain": "B"})[1]["ranked"]) == {"B"}


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"history": ["A0", "Z9"]}, "the item 'Z9' is not in the catalogue of 88"),
        ({"history": ["A0"], "domain": "C"}, "domain: 'C' is none of A, B"),
        ({"history": []}, "history: List should have at least 1"),
        ({"history": ["A0"], "count": 1000}, "count: Input should be less than or equal to 100"),
        ({"history": ["A0"], "hist": 1}, "hist: Extra inputs"),
        ("{", "Expecting"),
        ("[" * 100_000, "nested too deeply"),
    ],
)
def test_a_request_that_cannot_be_answered_says_why(client: TestClient, body: Any, said: str):
    status, answer = asked(client, body)
    assert status == 422 and said in answer["error"]


def test_without_the_key_or_beyond_the_size_nothing_is_read(client: TestClient):
    assert asked(client, {"history": ["A0"]}, key="wrong")[0] == 401
    assert asked(client, "x" * 300_000)[0] == 413
    assert client.get("/health").json() == {"model": "mixed", "items": 88}
