"""The order of sleeping, waking, pushing and proving, as a scripted server sees it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from reasoning_pipeline.errors import RecipeError
from reasoning_pipeline.hardware.profile import load_profile
from reasoning_pipeline.models.loading import load_model
from reasoning_pipeline.records import Decoding
from reasoning_pipeline.rollouts.clients.client import RolloutClient
from reasoning_pipeline.rollouts.clients.completions import Completion
from reasoning_pipeline.rollouts.engine import TrainerEngine
from reasoning_pipeline.rollouts.weights.proof import local_probe
from reasoning_pipeline.rollouts.weights.push import WeightPush, load_folder
from tests.rollouts.scripted_server import ScriptedServer
from tests.rollouts.test_weight_sync import single_process

PUSH = [
    "abandon_weight_update",
    "/update_weight_version",
    "/start_weight_update",
    "/update_weights",
    "/finish_weight_update",
    "/reset_prefix_cache",
]
PROOF = ["/v1/score", "tensor_digests"]


@pytest.fixture
def scripted() -> Iterator[ScriptedServer]:
    server = ScriptedServer()
    yield server
    server.close()


def pusher(scripted: ScriptedServer, folder: Path, *, sleep: bool) -> WeightPush:
    return WeightPush(RolloutClient(scripted.url, key="k"), single_process(), folder, "float32", sleep=sleep)


def test_a_step_sleeps_after_generation_and_wakes_around_the_push(
    scripted: ScriptedServer, tiny_model: Path, tmp_path: Path
) -> None:
    model = load_model(tiny_model)
    scripted.scores = local_probe(model, single_process()).logprobs
    push = pusher(scripted, tmp_path, sleep=True)
    push.push(model, "a:0")
    assert scripted.asked == [*PUSH, *PROOF], "awake as it starts"
    assert scripted.version == "a:0"
    scripted.asked.clear()
    push.rest()
    assert push.asleep and scripted.sleeping == {"weights", "kv_cache"}
    push.push(model, "a:1")
    assert scripted.asked == [
        "/sleep?level=2&mode=wait",
        "/wake_up?tags=weights",
        *PUSH,
        "/wake_up?tags=kv_cache",
        *PROOF,
    ]
    assert not push.asleep and not scripted.sleeping


def test_a_server_left_asleep_by_a_killed_trainer_is_woken(
    scripted: ScriptedServer, tiny_model: Path, tmp_path: Path
) -> None:
    model = load_model(tiny_model)
    scripted.scores = local_probe(model, single_process()).logprobs
    scripted.sleeping = {"weights", "kv_cache"}
    pusher(scripted, tmp_path, sleep=True).push(model, "resumed")
    assert not scripted.sleeping
    scripted.sleeping = {"weights", "kv_cache"}
    scripted.asked.clear()
    load_folder(RolloutClient(scripted.url, key="k"), tiny_model, "evaluated", "float32")
    assert scripted.asked[0] == "/wake_up" and not scripted.sleeping and scripted.version == "evaluated"


def test_a_second_batch_at_one_step_wakes_the_server_with_weights_first(
    scripted: ScriptedServer, tiny_model: Path, tmp_path: Path
) -> None:
    model = load_model(tiny_model)
    scripted.scores = local_probe(model, single_process()).logprobs

    class Awake:
        def generate(self, requests: Any, decoding: Any, **_: Any) -> list[list[Completion]]:
            assert not scripted.sleeping
            scripted.asked.append("generate")
            return [
                [Completion(token_ids=[2], logprobs=[0.0], finish="stop", policy_version=scripted.version)]
                for _ in requests
            ]

    engine = TrainerEngine(
        Awake(), pusher(scripted, tmp_path, sleep=True), decoding=Decoding(max_tokens=4), stop_ids=[2], label="test"
    )
    engine.trainer = SimpleNamespace(
        model_wrapped=model, accelerator=single_process(), state=SimpleNamespace(global_step=7)
    )
    engine.sync_weights()
    engine.generate([[1]], None, 1, None)
    engine.generate([[1]], None, 1, None)
    order = [what for what in scripted.asked if what.startswith(("generate", "/sleep", "/wake", "/finish", "/v1"))]
    one_batch = ["generate", "/sleep?level=2&mode=wait"]
    waking = ["/wake_up?tags=weights", "/finish_weight_update", "/wake_up?tags=kv_cache", "/v1/score"]
    assert order == ["/finish_weight_update", "/v1/score", *one_batch, *waking, *one_batch]


def test_without_the_profile_s_word_nobody_sleeps(scripted: ScriptedServer, tiny_model: Path, tmp_path: Path) -> None:
    model = load_model(tiny_model)
    scripted.scores = local_probe(model, single_process()).logprobs
    push = pusher(scripted, tmp_path, sleep=False)
    push.push(model, "a:0")
    push.rest()
    assert not push.asleep and scripted.asked == [*PUSH, *PROOF]


@pytest.mark.parametrize("field", ["sleep: true", "transport: nccl", "transport: ipc"])
def test_what_needs_a_gpu_is_refused_on_a_cpu(tmp_path: Path, field: str) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(f"device: cpu\nserver:\n  {field}\n")
    with pytest.raises(RecipeError, match="device: cuda"):
        load_profile(path)
