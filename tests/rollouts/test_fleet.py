"""Two real servers: one of the folder's fixture, one started by `serve` as a person would. What both may not lose,
what one may not do to the other, and what `serve` and `status` say."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import httpx
import psutil
import pytest

from reasoning_pipeline.__main__ import main
from reasoning_pipeline.errors import ServerError, ServerLost
from reasoning_pipeline.hardware.profile import load_profile
from reasoning_pipeline.models.architecture import architecture_digest
from reasoning_pipeline.records import Decoding
from reasoning_pipeline.rollouts.clients.client import KEY_VARIABLE, RolloutClient
from reasoning_pipeline.rollouts.clients.completions import GenerationRequest
from reasoning_pipeline.rollouts.clients.fleet import RolloutFleet
from reasoning_pipeline.rollouts.servers import register
from reasoning_pipeline.rollouts.servers.adopted import AdoptedServers
from reasoning_pipeline.rollouts.servers.process import RolloutServer
from reasoning_pipeline.rollouts.weights import push
from reasoning_pipeline.rollouts.weights.push import load_folder
from reasoning_pipeline.rollouts.weights.transport import forget_prefixes
from tests.docs.test_programs import documented, paths
from tests.run.conftest import PROJECT

pytestmark = pytest.mark.slow

PATIENCE = 60.0
"""Seconds for an answer on a machine with other work."""
KEY = "a-key-that-only-these-tests-know-of"
SILENCE_S = 20.0
DECODING = Decoding(max_tokens=100)
REQUESTS = [GenerationRequest(prompt_ids=[1, 20 + i % 50, 15, 24, 3], n=4, seed=i) for i in range(60)]
MANY = [GenerationRequest(prompt_ids=[1, 20 + i % 50, 15, 24, 3], seed=i) for i in range(400)]
"""Of one rollout each: the first is told after a few tokens, when nearly all are still being written."""


@dataclass
class Served:
    """A `serve` process and what it left."""

    process: subprocess.Popen[bytes]
    root: Path
    output: Path

    @property
    def file(self) -> register.ServerFile:
        running, _ = register.read(self.root / "servers")
        return running[0]

    def client(self) -> RolloutClient:
        return RolloutClient(self.file.url, key=KEY, silence_s=SILENCE_S)

    def family(self) -> list[psutil.Process]:
        """The server's processes, without `serve` itself."""
        return psutil.Process(self.process.pid).children(recursive=True)


def start_serve(model: Path, root: Path, *options: str | Path) -> Served:
    output = root / "serve.txt"
    root.mkdir(parents=True, exist_ok=True)
    with output.open("wb") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", "reasoning_pipeline", "serve", model, "--root", root, *options],
            cwd=PROJECT,
            stdout=file,
            stderr=subprocess.STDOUT,
            env={**os.environ, KEY_VARIABLE: KEY, "OMP_NUM_THREADS": "1"},
        )
    return Served(process, root, output)


@pytest.fixture(scope="module")
def served(
    tiny_model: Path, other_model: Path, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Iterator[Served]:
    readable = ["--readable", tiny_model.parent, "--readable", other_model.parent]
    started = start_serve(tiny_model, tmp_path_factory.mktemp("serve"), "--as-rollout-server", *readable)
    try:
        request.getfixturevalue("server")  # the folder's server, should it not run yet, starts meanwhile
        deadline = time.monotonic() + 900
        while "Ctrl-C stops it" not in started.output.read_text():
            assert started.process.poll() is None and time.monotonic() < deadline, started.output.read_text()
            time.sleep(0.2)
        yield started
    finally:
        started.process.terminate()
        started.process.wait(timeout=180)


@pytest.fixture
def fleet(served: Served, server: RolloutServer, tiny_model: Path) -> RolloutFleet:
    """Both servers, with the same weights under the same version."""
    fleet = RolloutFleet([RolloutClient(server.url, key=server.key, silence_s=SILENCE_S), served.client()])
    for one in fleet.servers:
        load_folder(one, tiny_model, "both:1", "float32")
    return fleet


def ids(groups: list) -> list[list[list[int]]]:
    return [[completion.token_ids for completion in group] for group in groups]


def test_two_servers_write_what_one_writes(fleet: RolloutFleet) -> None:
    told: list[int] = []
    together = fleet.generate(REQUESTS, DECODING, stop_ids=[2], on_result=lambda index, _: told.append(index))
    alone = fleet.servers[0].generate(REQUESTS, DECODING, stop_ids=[2])
    assert ids(together) == ids(alone) and sorted(told) == list(range(60))
    assert all(server.status()["tokens"] > 1000 for server in fleet.servers), "both have worked"
    assert fleet.policy_version() == "both:1"


def test_two_clients_at_once_each_get_their_own(fleet: RolloutFleet) -> None:
    found: dict[int, list] = {}

    def ask(who: int) -> None:
        client = RolloutClient(fleet.servers[1].url, key=KEY)
        found[who] = ids(client.generate(REQUESTS[30 * who : 30 * who + 30], DECODING, stop_ids=[2]))

    threads = [threading.Thread(target=ask, args=(who,)) for who in (0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found[0] + found[1] == ids(fleet.servers[0].generate(REQUESTS, DECODING, stop_ids=[2]))


def test_weights_changed_by_somebody_else_while_rollouts_are_written_are_noticed(
    fleet: RolloutFleet, other_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The intruder waits until what is being written is written, which takes long on a busy machine.
    monkeypatch.setattr(push, "forget_prefixes", partial(forget_prefixes, patience_s=300))
    pushed: list[int] = []

    def push_once(index: int, group: list) -> None:
        if not pushed:
            pushed.append(index)
            load_folder(fleet.servers[1], other_model, "intruder:1", "float32")

    with pytest.raises(ServerError, match=r"the weights changed|hold different weights"):
        fleet.generate(MANY, DECODING, stop_ids=[2], on_result=push_once)
    with pytest.raises(ServerError, match="hold different weights"):
        fleet.policy_version()


def test_what_a_client_no_longer_wants_is_not_written(fleet: RolloutFleet) -> None:
    class Enough(Exception):
        pass

    def enough(index: int, group: list) -> None:
        raise Enough

    client = fleet.servers[1]
    with pytest.raises(Enough):
        client.generate(MANY, DECODING, stop_ids=[], on_result=enough)
    deadline = time.monotonic() + 60
    while (busy := client.status())["running"] + busy["waiting"]:
        assert time.monotonic() < deadline, busy
        time.sleep(0.1)


def test_a_server_frozen_beyond_the_deadline_is_dropped_and_its_rollouts_are_written_elsewhere(
    fleet: RolloutFleet, served: Served
) -> None:
    frozen: list[psutil.Process] = []
    told: Counter[int] = Counter()

    def freeze_once(index: int, group: list) -> None:
        told[index] += 1
        if not frozen:
            frozen.extend(served.family())
            for process in frozen:
                process.suspend()

    try:
        groups = fleet.generate(MANY, DECODING, stop_ids=[2], on_result=freeze_once)
    finally:
        for process in frozen:
            process.resume()
    assert told == Counter(range(400)) and [len(group) for group in groups] == [1] * 400
    assert [server.url for server in fleet.servers] == [fleet._servers[0].url]
    assert ids(groups[:5]) == ids(fleet.generate(MANY[:5], DECODING, stop_ids=[2]))


def test_a_frozen_engine_behind_a_living_http_server_is_silent_too(fleet: RolloutFleet, served: Served) -> None:
    engines = [process for process in served.family() if "EngineCore" in " ".join(process.cmdline())]
    assert engines
    client = served.client()
    client.silence_s = 12.0  # more than one sign of life late

    def freeze(index: int, group: list) -> None:
        for process in engines:
            process.suspend()

    try:
        with pytest.raises(ServerLost, match="is silent beyond the deadline"):
            client.generate(MANY, DECODING, stop_ids=[], on_result=freeze)
    finally:
        for process in engines:
            process.resume()


def test_a_request_that_is_too_long_or_too_large_is_refused_before_anything_is_written(fleet: RolloutFleet) -> None:
    client = fleet.servers[1]
    before = client.status()["tokens"]
    with pytest.raises(ServerError, match=r"1 of 3 prompts .* the longest has 300 tokens, the context is 128"):
        client.generate([*REQUESTS[:2], GenerationRequest(prompt_ids=[5] * 300)], DECODING, stop_ids=[2])
    with pytest.raises(ServerError, match="token 112 is outside the vocabulary of 112"):
        client.generate([GenerationRequest(prompt_ids=[5, 112])], DECODING, stop_ids=[2])
    large = httpx.post(
        f"{client.url}/v1/rollouts",
        content=b" " * (33 << 20),
        headers={"Authorization": f"Bearer {KEY}"},
        timeout=PATIENCE,
    )
    assert large.status_code == 413 and "32 MiB" in large.text
    assert client.status()["tokens"] == before


def test_every_route_but_health_and_status_asks_for_the_key(fleet: RolloutFleet) -> None:
    url = fleet.servers[1].url
    schema = httpx.get(f"{url}/openapi.json", headers={"Authorization": f"Bearer {KEY}"}, timeout=PATIENCE).json()
    routes = [(method, path) for path, methods in schema["paths"].items() for method in methods]
    routes += [("get", "/openapi.json"), ("get", "/docs"), ("get", "/metrics"), ("get", "/no/such/route")]
    assert {"/v1/rollouts", "/update_weights", "/collective_rpc", "/v1/chat/completions"} <= set(schema["paths"])
    found = {(method, path): httpx.request(method, url + path, timeout=PATIENCE).status_code for method, path in routes}
    assert {route for route, status in found.items() if status != 401} == {("get", "/health"), ("get", "/status")}
    status = httpx.get(f"{url}/status", timeout=PATIENCE).json()
    assert not [value for value in status.values() if isinstance(value, str) and "/" in value], "figures, no paths"


def test_the_key_stands_nowhere(served: Served) -> None:
    texts = {path: path.read_text(errors="replace") for path in served.root.rglob("*") if path.is_file()}
    assert len(texts) >= 3, "what serve printed, the server's file and its log"
    assert not [path for path, text in texts.items() if KEY in text]
    lines = [path.read_bytes() for process in served.family() for path in [Path(f"/proc/{process.pid}/cmdline")]]
    assert lines and not [line for line in lines if KEY.encode() in line]


def test_status_shows_what_runs(fleet: RolloutFleet, served: Served, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["status", "--root", str(served.root), "--json"]) == 0
    (row,) = found = json.loads(capsys.readouterr().out)["servers"]
    assert paths({"servers": found}, documented("status")) <= documented("status")
    assert row["model"] == "tiny" and row["policy_version"] == "both:1" and row["pid"] == served.file.pid
    assert 0.5 < row["memory_gib"] < 10 and row["running"] == 0 and row["owner"] == served.process.pid
    assert main(["status", "--url", fleet.servers[0].url]) == 0
    assert "both:1" in capsys.readouterr().out


def test_adopting_checks_what_would_fail_later(
    fleet: RolloutFleet, served: Served, tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(KEY_VARIABLE, KEY)
    base = load_profile("cpu")
    profile = base.model_copy(update={"server": base.server.model_copy(update={"urls": (served.file.url,)})})
    group = AdoptedServers(profile, tiny_model.parent, 100).ready(tiny_model)
    assert group.urls == [served.file.url] and os.access(group.transfer_folder, os.W_OK)
    with pytest.raises(ServerError, match="--readable") as caught:
        AdoptedServers(profile, tmp_path, 100).ready(tiny_model)
    assert str(tmp_path) in str(caught.value)
    wider = json.loads((tiny_model / "config.json").read_text()) | {"hidden_size": 64}
    (tmp_path / "config.json").write_text(json.dumps(wider))
    assert architecture_digest(tmp_path) != architecture_digest(tiny_model)
    with pytest.raises(ServerError, match=r"none of .* serves the architecture"):
        AdoptedServers(profile, tiny_model.parent, 100).ready(tmp_path)
    monkeypatch.setenv(KEY_VARIABLE, "another")
    with pytest.raises(ServerError, match="401"):
        AdoptedServers(profile, tiny_model.parent, 100).ready(tiny_model)


def test_a_server_killed_while_it_writes_and_scores_and_its_serve_says_so(fleet: RolloutFleet, served: Served) -> None:
    """The last to use this server: it is gone afterwards."""
    told: Counter[int] = Counter()
    sequences = [[1 + (i + j) % 100 for j in range(100)] for i in range(1000)]
    scores: list[list[float]] = []
    scoring = threading.Thread(target=lambda: scores.extend(fleet.score(sequences)))
    scoring.start()

    def kill_once(index: int, group: list) -> None:
        told[index] += 1
        if len(told) == 1:
            for process in served.family():
                process.kill()

    groups = fleet.generate(MANY, DECODING, stop_ids=[2], on_result=kill_once)
    assert told == Counter(range(400)) and [len(group) for group in groups] == [1] * 400
    scoring.join(timeout=300)
    assert len(fleet.servers) == 1 and len(scores) == 1000
    assert scores[-1] == pytest.approx(fleet.servers[0].score(sequences[-1:])[0], abs=1e-4)
    assert served.process.wait(timeout=180) == 1
    assert "the server ended by itself" in served.output.read_text()
    assert register.read(served.root / "servers") == ([], []), "its file is gone with it"
    with pytest.raises(ServerLost, match="is gone"):
        RolloutClient(fleet._servers[1].url, key=KEY).generate(REQUESTS, DECODING, stop_ids=[2])


def test_a_server_leaves_when_its_serve_was_killed_and_status_cleans_up(
    tiny_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    started = start_serve(tiny_model, tmp_path)
    deadline = time.monotonic() + 300
    while not (running := register.read(tmp_path / "servers")[0]):
        assert time.monotonic() < deadline, started.output.read_text()
        time.sleep(0.05)
    family = started.family()
    started.process.kill()
    started.process.wait()
    gone, alive = psutil.wait_procs(family, timeout=180)
    assert not alive and gone
    assert main(["status", "--root", str(tmp_path)]) == 0
    assert f"process {running[0].pid}) is gone" in capsys.readouterr().out
    assert not list((tmp_path / "servers").glob("*.json"))
