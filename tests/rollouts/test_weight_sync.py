"""A push counts only when it is proved: against a real vLLM, pushes that work and pushes that do not."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from reasoning_pipeline.errors import StaleWeights
from reasoning_pipeline.rollouts import weight_sync
from reasoning_pipeline.rollouts.probe import TOLERANCE, Probe, largest_difference, probe_sequences, prove
from reasoning_pipeline.rollouts.server import RolloutServer
from reasoning_pipeline.rollouts.weight_sync import WeightPush, load_folder
from reasoning_pipeline.training.models import load_model

FLOAT32 = "float32"


def single_process() -> Any:
    """What an Accelerator of one CPU process answers."""
    import torch

    return SimpleNamespace(
        is_main_process=True,
        device=torch.device("cpu"),
        state=SimpleNamespace(deepspeed_plugin=None),
        unwrap_model=lambda model: model,
        wait_for_everyone=lambda: None,
    )


@pytest.fixture
def push(server: RolloutServer) -> WeightPush:
    return WeightPush(server.client, single_process(), server.transfer_folder, FLOAT32)


@pytest.mark.slow
def test_a_push_takes_effect_and_names_its_version(push: WeightPush, tiny_model: Path, other_model: Path) -> None:
    for folder, version in ((other_model, "a:1"), (tiny_model, "b:2"), (other_model, "c:3")):
        push.push(load_model(folder), version)
        assert push.difference < TOLERANCE[FLOAT32]
        assert push.client.policy_version() == version


@pytest.mark.slow
def test_a_push_that_did_nothing_is_caught(
    push: WeightPush, tiny_model: Path, other_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    push.push(load_model(tiny_model), "before")

    def only_say_so(client: Any, files: Any, version: str) -> None:
        client.post("/update_weight_version", {"new_version": version})

    monkeypatch.setattr(weight_sync, "update_weights", only_say_so)
    with pytest.raises(StaleWeights, match="does not hold these weights") as caught:
        push.push(load_model(other_model), "after")
    assert "nats" in str(caught.value) and "float32" in str(caught.value)


@pytest.mark.slow
def test_one_stale_layer_is_caught(
    push: WeightPush, tiny_model: Path, other_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = weight_sync.full_parameters
    stale = dict(whole(load_model(tiny_model), single_process()))

    def all_but_one(model: Any, accelerator: Any) -> Any:
        for name, tensor in whole(model, accelerator):
            yield name, stale[name] if name == "model.layers.1.mlp.down_proj.weight" else tensor

    monkeypatch.setattr(weight_sync, "full_parameters", all_but_one)
    with pytest.raises(StaleWeights):
        push.push(load_model(other_model), "stale-layer")


@pytest.mark.slow
def test_a_published_folder_is_proved_without_torch(
    server: RolloutServer, tiny_model: Path, other_model: Path, push: WeightPush
) -> None:
    assert load_folder(server.client, tiny_model, "no-probe", FLOAT32) is None, "a foreign folder brings no probe"
    weight_sync.local_probe(load_model(other_model), single_process()).save(other_model)
    difference = load_folder(server.client, other_model, "with-probe", FLOAT32)
    assert difference is not None and difference < TOLERANCE[FLOAT32]
    Probe.load(other_model).save(tiny_model)  # type: ignore[union-attr]
    with pytest.raises(StaleWeights):
        load_folder(server.client, tiny_model, "other-probe", FLOAT32)
    for folder in (tiny_model, other_model):
        (folder / "probe.json").unlink()


class Echo:
    """A scorer that answers what it is told."""

    def __init__(self, logprobs: list[list[float]]) -> None:
        self.logprobs = logprobs

    def score(self, sequences: Any) -> list[list[float]]:
        return self.logprobs


def test_the_proof_allows_the_tolerance_and_no_more() -> None:
    probe = Probe([[1, 2, 3]], [[-1.0, -2.0]])
    assert prove(probe, Echo([[-1.00005, -2.0]]), FLOAT32, what="x") == pytest.approx(5e-5)
    with pytest.raises(StaleWeights, match="x: the server"):
        prove(probe, Echo([[-1.0002, -2.0]]), FLOAT32, what="x")
    with pytest.raises(StaleWeights):
        prove(probe, Echo([[float("nan"), -2.0]]), FLOAT32, what="x")


def test_the_probe_is_fixed_and_uses_the_whole_vocabulary() -> None:
    assert probe_sequences(112) == probe_sequences(112)
    tokens = {token for row in probe_sequences(112) for token in row}
    assert max(tokens) < 112 and len(tokens) > 40
    assert largest_difference([[0.0, -1.0]], [[0.0, -3.0]]) == 2.0
