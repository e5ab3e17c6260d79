"""A push counts only when it is proved: against a real vLLM, pushes that work and pushes that do not."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from reasoning_pipeline.errors import ServerLost, StaleWeights
from reasoning_pipeline.hardware.profile import load_profile
from reasoning_pipeline.models.loading import load_model
from reasoning_pipeline.rollouts.clients.client import KEY_VARIABLE, RolloutClient
from reasoning_pipeline.rollouts.clients.fleet import RolloutFleet
from reasoning_pipeline.rollouts.servers.process import RolloutServer
from reasoning_pipeline.rollouts.weights import proof as proof_module
from reasoning_pipeline.rollouts.weights.digests import Digest, checksum
from reasoning_pipeline.rollouts.weights.gathering import described, whole_tensors
from reasoning_pipeline.rollouts.weights.probe import TOLERANCE, Probe, largest_difference, probe_sequences
from reasoning_pipeline.rollouts.weights.proof import Proof, check, local_probe
from reasoning_pipeline.rollouts.weights.push import WeightPush, load_folder
from reasoning_pipeline.rollouts.weights.transport import call_workers
from tests.rollouts.scripted_server import ScriptedServer

FLOAT32 = "float32"
Tensors = Iterator[tuple[str, torch.Tensor]]


def single_process() -> Any:
    """What an Accelerator of one CPU process answers."""
    return SimpleNamespace(
        is_main_process=True,
        num_processes=1,
        process_index=0,
        device=torch.device("cpu"),
        unwrap_model=lambda model: model,
        wait_for_everyone=lambda: None,
    )


class Tampering:
    """A transport that delivers something else than it was given."""

    def __init__(self, real: Any, change: Callable[[Tensors], Tensors], *, spares_full: bool = False) -> None:
        self.real, self.change, self.spares_full = real, change, spares_full

    def send(self, servers: Any, infos: Any, tensors: Any, version: str, *, full: bool) -> dict[Any, Future[None]]:
        if full and self.spares_full:
            return self.real.send(servers, infos, tensors, version, full=full)
        return self.real.send(servers, infos, lambda: self.change(tensors()), version, full=full)

    def close(self) -> None:
        self.real.close()


@pytest.fixture
def push(server: RolloutServer) -> WeightPush:
    return WeightPush(server.client, single_process(), server.transfer_folder, FLOAT32)


def caught(push: WeightPush, model: Any, version: str) -> str:
    """The message of a push that must not pass, after which the server must not claim the version."""
    with pytest.raises(StaleWeights, match="does not hold these weights") as found:
        push.push(model, version)
    assert push.full_pushes == 1, "one full push was tried before giving up"
    assert push.client.policy_version() == f"{version} (unproved)"
    return str(found.value)


@pytest.mark.slow
@pytest.mark.parametrize(("chunk_bytes", "slots"), [(2**27, 1), (20_000, 2)])
def test_a_push_takes_effect_and_names_its_version(
    push: WeightPush,
    tiny_model: Path,
    other_model: Path,
    monkeypatch: pytest.MonkeyPatch,
    chunk_bytes: int,
    slots: int,
) -> None:
    monkeypatch.setattr("reasoning_pipeline.rollouts.weights.slots.CHUNK_BYTES", chunk_bytes)
    for file in push.transport.folder.iterdir():
        file.unlink()
    for folder, version in ((other_model, "a:1"), (tiny_model, "b:2"), (other_model, "c:3")):
        push.push(load_model(folder), version)
        assert push.difference < TOLERANCE[FLOAT32]
        assert push.client.policy_version() == version
    assert push.full_pushes == 0
    assert len(list(push.transport.folder.iterdir())) == slots, "written again and again, however many chunks"


@pytest.mark.slow
def test_every_tensor_of_the_model_is_among_the_checksums(
    server: RolloutServer, push: WeightPush, tiny_model: Path
) -> None:
    model = load_model(tiny_model)
    push.push(model, "all")
    shapes = {info.name: [list(info.shape), 0, 1] for info in described(model)}
    (answer,) = call_workers(server.client, "tensor_digests", shapes)
    assert set(answer) == set(shapes) and all(answer.values()), "fused qkv, fused gate and up, padded embedding too"


@pytest.mark.slow
def test_a_push_that_did_nothing_is_caught(
    push: WeightPush, tiny_model: Path, other_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    push.push(load_model(tiny_model), "before")

    def only_says_so(servers: Any, infos: Any, tensors: Any, version: str, *, full: bool) -> dict[Any, Future[None]]:
        for _ in tensors():
            pass
        for server in servers:
            server.post("/update_weight_version", {"new_version": version})
        done: Future[None] = Future()
        done.set_result(None)
        return dict.fromkeys(servers, done)

    monkeypatch.setattr(push.transport, "send", only_says_so)
    message = caught(push, load_model(other_model), "after")
    assert "nats" in message and "the first tensor that differs is model.embed_tokens.weight" in message


@pytest.mark.slow
def test_a_missed_step_too_small_for_the_probe_is_caught_by_the_checksums(push: WeightPush, tiny_model: Path) -> None:
    model = load_model(tiny_model)
    push.push(model, "before")
    with torch.no_grad():  # one element in 3,072 by 1e-7: far below 1e-4 nats anywhere
        model.model.layers[1].self_attn.k_proj.weight[3, 5] += 1e-7
    stale = dict(whole_tensors(load_model(tiny_model)))
    push.transport = Tampering(push.transport, lambda tensors: ((name, stale[name]) for name, _ in tensors))
    message = caught(push, model, "after")
    assert "model.layers.1.self_attn.k_proj.weight" in message
    assert push_difference(message) < TOLERANCE[FLOAT32]


def push_difference(message: str) -> float:
    return float(message.partition("differ by up to ")[2].split()[0])


def one_stale_layer(stale: dict[str, torch.Tensor]) -> Callable[[Tensors], Tensors]:
    name = "model.layers.1.mlp.down_proj.weight"
    return lambda tensors: ((n, stale[n] if n == name else t) for n, t in tensors)


def swapped_layers(tensors: Tensors) -> Tensors:
    kept = {name: tensor.clone() for name, tensor in tensors}
    for name in kept:
        other = name.replace("layers.0", "layers.x").replace("layers.1", "layers.0").replace("layers.x", "layers.1")
        yield name, kept[other]


def rounded_to_bfloat16(tensors: Tensors) -> Tensors:
    return ((name, tensor.bfloat16().float()) for name, tensor in tensors)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("fault", "tensor"),
    [
        ("one stale layer", "model.layers.1.mlp.down_proj.weight"),
        ("swapped layers", "model.layers.0.self_attn.q_proj.weight"),
        ("bfloat16 in a float32 server", "model.embed_tokens.weight"),
    ],
)
def test_what_goes_wrong_on_the_way_is_caught_and_the_next_push_heals(
    push: WeightPush, tiny_model: Path, other_model: Path, fault: str, tensor: str
) -> None:
    old, new = load_model(tiny_model), load_model(other_model)
    push.push(old, "before")
    stale = {name: value.clone() for name, value in whole_tensors(old)}
    changes: dict[str, Callable[[Tensors], Tensors]] = {
        "one stale layer": one_stale_layer(stale),
        "swapped layers": swapped_layers,
        "bfloat16 in a float32 server": rounded_to_bfloat16,
    }
    real = push.transport
    push.transport = Tampering(real, changes[fault])
    message = caught(push, new, "bad")
    assert f"the first tensor that differs is {tensor}" in message
    assert push_difference(message) > TOLERANCE[FLOAT32], "the probe alone would have caught it"
    push.transport = real
    push.push(new, "good")
    assert push.client.policy_version() == "good"


@pytest.mark.slow
def test_a_layer_gathered_stale_is_caught_by_the_probe_alone(
    push: WeightPush, tiny_model: Path, other_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Both sides hash what was gathered, and agree; only computing tells that it is not what the trainer computes with.
    change = one_stale_layer(dict(whole_tensors(load_model(tiny_model))))
    gathered = "reasoning_pipeline.rollouts.weights.push.whole_tensors"
    monkeypatch.setattr(gathered, lambda model: change(whole_tensors(model)))
    assert "every tensor it holds is equal" in caught(push, load_model(other_model), "stale-gathering")


@pytest.mark.slow
def test_a_head_that_is_no_longer_tied_is_caught(push: WeightPush, other_model: Path) -> None:
    model = load_model(other_model)
    head = model.lm_head.weight.detach().clone()
    head[7] += 0.5
    model.lm_head.weight = torch.nn.Parameter(head)  # the server keeps one matrix for both
    assert "the first tensor that differs is lm_head.weight" in caught(push, model, "untied")


@pytest.mark.slow
def test_a_full_push_mends_what_a_push_could_not(push: WeightPush, tiny_model: Path, other_model: Path) -> None:
    push.push(load_model(tiny_model), "before")
    push.transport = Tampering(push.transport, swapped_layers, spares_full=True)
    push.push(load_model(other_model), "mended")
    assert push.full_pushes == 1 and push.difference < TOLERANCE[FLOAT32]
    assert push.client.policy_version() == "mended"


@pytest.mark.slow
def test_a_published_folder_is_proved_without_torch(
    server: RolloutServer, tiny_model: Path, other_model: Path, push: WeightPush
) -> None:
    assert load_folder(server.client, tiny_model, "no-probe", FLOAT32) is None, "a foreign folder brings no probe"
    local_probe(load_model(other_model), single_process()).save(other_model)
    difference = load_folder(server.client, other_model, "with-probe", FLOAT32)
    assert difference is not None and difference < TOLERANCE[FLOAT32]
    Probe.load(other_model).save(tiny_model)  # type: ignore[union-attr]
    with pytest.raises(StaleWeights, match="every tensor it holds is equal"):
        load_folder(server.client, tiny_model, "other-probe", FLOAT32)
    for folder in (tiny_model, other_model):
        (folder / "probe.json").unlink()


TRAINER = """
import os, signal, sys
from pathlib import Path
from reasoning_pipeline.rollouts.weights import safetensors_transport
from reasoning_pipeline.rollouts.clients.client import RolloutClient
from reasoning_pipeline.rollouts.weights.push import WeightPush
from reasoning_pipeline.models.loading import load_model
from accelerate import Accelerator
safetensors_transport.finish_update = lambda *arguments: os.kill(os.getpid(), signal.SIGKILL)
url, folder, model = sys.argv[1:]
WeightPush(RolloutClient(url), Accelerator(cpu=True), Path(folder), "float32").push(load_model(Path(model)), "doomed")
"""


@pytest.mark.slow
def test_a_trainer_killed_in_the_middle_of_a_push_leaves_a_server_that_the_next_one_can_use(
    server: RolloutServer, push: WeightPush, tiny_model: Path, other_model: Path
) -> None:
    push.push(load_model(tiny_model), "before")
    trainer = subprocess.run(
        [sys.executable, "-c", TRAINER, server.url, str(server.transfer_folder), str(other_model)],
        env={**os.environ, KEY_VARIABLE: server.key},
        check=False,
        timeout=120,
    )
    assert trainer.returncode == -signal.SIGKILL
    assert server.client.policy_version() == "doomed (arriving)", "half of it passes for neither version"
    push.push(load_model(tiny_model), "resumed")
    assert push.difference < TOLERANCE[FLOAT32] and push.full_pushes == 0


@pytest.mark.slow
def test_a_fleet_loses_a_server_in_a_push_and_goes_on_and_the_last_one_s_loss_is_told(
    server: RolloutServer, tiny_model: Path, other_model: Path, tmp_path: Path
) -> None:
    doomed = RolloutServer(
        tiny_model,
        load_profile("cpu"),
        tmp_path / "doomed.log",
        readable=(tiny_model,),
        transfer_folder=server.transfer_folder,
    )
    try:
        doomed.start()
        doomed.wait_ready()
        fleet = RolloutFleet([server.client, doomed.client])
        push = WeightPush(fleet, single_process(), server.transfer_folder, FLOAT32)
        push.push(load_model(other_model), "both")
        assert fleet.policy_version() == "both" and push.difference < TOLERANCE[FLOAT32]

        def killing(tensors: Tensors) -> Tensors:
            yield next(tensors)  # the update has begun
            assert doomed.pid is not None
            os.kill(doomed.pid, signal.SIGKILL)
            yield from tensors

        push.transport = Tampering(push.transport, killing)
        push.push(load_model(tiny_model), "one")
        assert fleet.servers == [server.client] and server.client.policy_version() == "one"
        alone = WeightPush(doomed.client, single_process(), server.transfer_folder, FLOAT32)
        with pytest.raises(ServerLost, match="is gone"):
            alone.push(load_model(tiny_model), "nobody")
    finally:
        doomed.stop()


def proof(expected: float, found: float, *, digests: dict[str, str], held: dict[str, str]) -> Proof:
    return Proof(
        FLOAT32,
        [[-1.0, expected]],
        [[-1.0, found]],
        {name: Digest(FLOAT32, value) for name, value in digests.items()},
        {name: Digest(FLOAT32, value) for name, value in held.items()},
    )


def test_the_proof_allows_the_tolerance_and_no_more() -> None:
    same = {"a": "1", "b": "2"}
    assert proof(-2.0, -2.00005, digests=same, held=same).holds
    for bad in (-2.0002, float("nan")):
        with pytest.raises(StaleWeights, match="x: the server"):
            check(proof(-2.0, bad, digests=same, held=same), what="x")
    with pytest.raises(StaleWeights, match="first tensor that differs is b"):
        check(proof(-2.0, -2.0, digests=same, held={"a": "1", "b": "3"}), what="x")


def in_bfloat16(error: float, *, usual: float | None, held: dict[str, str] | None = None, tokens: int = 80) -> Proof:
    """A proof whose probable tokens are off by `error` each, and one improbable token by 3 nats."""
    ours, digests = [[-1.0] * tokens + [-12.0]], {"a": Digest("bfloat16", "1"), "b": Digest("bfloat16", "2")}
    theirs = [[value + error for value in ours[0][:-1]] + [-15.0]]
    shown = {name: Digest("bfloat16", value) for name, value in (held or {"a": "1", "b": "2"}).items()}
    return Proof("bfloat16", ours, theirs, digests, {"a": None, "b": None} | shown, usual)


def test_in_bfloat16_many_probable_tokens_are_judged_by_what_is_usual() -> None:
    assert in_bfloat16(0.05, usual=None).difference == pytest.approx(0.05), "the improbable one does not count"
    assert in_bfloat16(0.05, usual=None).holds and not in_bfloat16(0.3, usual=None).holds
    assert in_bfloat16(0.14, usual=0.05).holds and not in_bfloat16(0.16, usual=0.05).holds, "three times the first"
    assert in_bfloat16(0.019, usual=0.001).holds, "so little is rounding, however small the first was"
    assert not in_bfloat16(0.26, usual=0.2).holds, "a bad first push allows no worse ones"
    assert not in_bfloat16(float("nan"), usual=None).holds
    assert in_bfloat16(0.05, usual=None, tokens=20).difference > 0.5, "too few are probable, so all count"


def test_a_doubtful_number_warns_where_every_tensor_is_equal_and_ends_the_run_elsewhere(
    capsys: pytest.CaptureFixture[str],
) -> None:
    check(in_bfloat16(0.3, usual=0.05), what="x")
    assert "warning: x: log-probabilities of the probe differ by 0.3 nats" in capsys.readouterr().err
    for bad in (
        in_bfloat16(0.6, usual=0.05),  # no rounding is so large: it computes with something else
        in_bfloat16(0.3, usual=0.05, held={"a": "1", "b": "3"}),
        in_bfloat16(0.01, usual=0.05, held={"a": "1", "b": "3"}),
        in_bfloat16(0.3, usual=0.05, held={"a": "1"}),  # the other is divided between GPUs, and nobody compared it
        in_bfloat16(float("nan"), usual=0.05),
    ):
        with pytest.raises(StaleWeights, match="does not hold these weights"):
            check(bad, what="x")


def test_the_probe_in_bfloat16_is_what_the_model_would_write(tiny_model: Path) -> None:
    model = load_model(tiny_model)
    sequences = proof_module.sequences_for(model, single_process(), "bfloat16")
    assert sequences == proof_module.sequences_for(model, single_process(), "bfloat16")
    written = [value for row in local_probe(model, single_process(), sequences).logprobs for value in row[1:]]
    assert len(written) >= 64 and min(written) >= torch.tensor(1e-3).log() - 1e-4


def test_a_push_in_bfloat16_that_is_doubtful_is_tried_in_full_then_goes_on_and_warns_once(
    tiny_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    scripted, model = ScriptedServer(), load_model(tiny_model)
    push = WeightPush(RolloutClient(scripted.url, key="k"), single_process(), tmp_path, "bfloat16")
    sequences = proof_module.sequences_for(model, single_process(), "bfloat16")
    ours = local_probe(model, single_process(), sequences).logprobs

    def digests(method: str, asked: dict[str, Any]) -> list[dict[str, Any]]:
        wire = {name: tensor.bfloat16() for name, tensor in whole_tensors(model)}
        return [{name: ["bfloat16", checksum_of(wire[name], *where[1:])] for name, where in asked.items()}]

    scripted.digests = digests
    for number, (error, fulls) in enumerate([(0.02, 0), (0.05, 0), (0.2, 1), (0.21, 1)]):
        scripted.scores = [[value + error for value in row] for row in ours]
        push.push(model, f"a:{number}")
        assert push.full_pushes == fulls and scripted.version == f"a:{number}"
        assert push.difference == pytest.approx(error, rel=1e-3)
    assert capsys.readouterr().err.count("warning: ") == 1
    scripted.close()


def checksum_of(tensor: torch.Tensor, start: int, stop: int) -> str:
    return checksum(tensor.reshape(-1)[start:stop].contiguous().view(torch.int16).numpy())


def test_the_probe_is_fixed_and_uses_the_whole_vocabulary() -> None:
    assert probe_sequences(112) == probe_sequences(112)
    tokens = {token for row in probe_sequences(112) for token in row}
    assert max(tokens) < 112 and len(tokens) > 40
    assert largest_difference([[0.0, -1.0]], [[0.0, -3.0]]) == 2.0


def test_the_short_probe_of_a_large_model_still_depends_on_every_tensor(
    tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("reasoning_pipeline.rollouts.weights.probe.LARGE", 0)
    model = load_model(tiny_model)
    before = local_probe(model, single_process())
    assert [len(row) for row in before.sequences] == [6]
    for name, parameter in model.named_parameters():
        kept = parameter.detach().clone()
        with torch.no_grad():
            parameter.mul_(1 + 0.05 * torch.randn_like(parameter))
        assert largest_difference(before.logprobs, local_probe(model, single_process()).logprobs) > 1e-4, name
        with torch.no_grad():
            parameter.copy_(kept)
    assert proof_module.sequences_for(model, single_process(), FLOAT32) == before.sequences
