"""Against a real vLLM: what a request may ask for, what comes back, and who may ask."""

from __future__ import annotations

import stat
import tempfile
from pathlib import Path

import httpx
import psutil
import pytest

from reasoning_pipeline.errors import ServerError, ServerLost
from reasoning_pipeline.hardware.addresses import free_port
from reasoning_pipeline.hardware.profile import load_profile
from reasoning_pipeline.records import Decoding
from reasoning_pipeline.rollouts.clients.client import RolloutClient
from reasoning_pipeline.rollouts.clients.completions import GenerationRequest, sample_seeds
from reasoning_pipeline.rollouts.servers import process
from reasoning_pipeline.rollouts.servers.command import serve_command
from reasoning_pipeline.rollouts.servers.process import RolloutServer
from reasoning_pipeline.rollouts.vllm.plugin import TRANSFER_PREFIX

pytestmark = pytest.mark.slow

END = [2]
REQUESTS = [GenerationRequest(prompt_ids=[1, 20 + i, 15, 24, 3], n=3, seed=i) for i in range(5)]
DECODING = Decoding(max_tokens=12)


def test_completions_come_in_order_with_ids_logprobs_and_version(server: RolloutServer) -> None:
    finished: list[int] = []
    groups = server.client.generate(
        REQUESTS, DECODING, stop_ids=END, on_result=lambda index, group: finished.append(index)
    )
    assert sorted(finished) == [0, 1, 2, 3, 4]
    assert [len(group) for group in groups] == [3] * 5
    for completion in (completion for group in groups for completion in group):
        assert len(completion.token_ids) == len(completion.logprobs) <= 12
        assert all(logprob <= 0 for logprob in completion.logprobs)
        assert (completion.token_ids[-1] == 2) == (completion.finish == "stop")
        assert completion.policy_version == server.client.policy_version()


def test_the_same_seeds_draw_the_same_rollouts_whatever_else_is_asked(server: RolloutServer) -> None:
    together = server.client.generate(REQUESTS, DECODING, stop_ids=END)
    alone = server.client.generate(REQUESTS[3:4], DECODING, stop_ids=END)
    assert [c.token_ids for c in together[3]] == [c.token_ids for c in alone[0]]
    assert len({tuple(c.token_ids) for c in together[3]}) == 3, "samples of one request differ"


def test_a_sampled_logprob_is_the_score_of_its_token(server: RolloutServer) -> None:
    completion = server.client.generate(REQUESTS[:1], DECODING, stop_ids=END)[0][0]
    prompt = REQUESTS[0].prompt_ids
    scores = server.client.score([prompt + completion.token_ids])[0][len(prompt) - 1 :]
    assert completion.logprobs == pytest.approx(scores, abs=1e-5)


def test_a_prompt_beyond_the_context_is_refused_and_the_server_lives_on(server: RolloutServer) -> None:
    with pytest.raises(ServerError, match="the longest has 300 tokens, the context is 128"):
        server.client.generate([GenerationRequest(prompt_ids=[5] * 300)], DECODING, stop_ids=END)
    assert server.client.healthy()


@pytest.mark.parametrize("path", ["/update_weights", "/collective_rpc", "/v1/rollouts", "/v1/models", "/weight_info"])
def test_every_route_wants_the_key(server: RolloutServer, path: str) -> None:
    assert httpx.post(server.url + path, json={}, timeout=60).status_code == 401
    wrong = httpx.post(server.url + path, json={}, headers={"Authorization": "Bearer wrong"}, timeout=60)
    assert wrong.status_code == 401


def test_the_key_stands_in_no_log_and_on_no_command_line(server: RolloutServer) -> None:
    assert server.key not in server.log.read_text()
    assert server.key not in " ".join(serve_command(server.folder, server.profile, server.service, free_port()))


def test_sockets_between_its_processes_are_for_its_user_alone_and_go_with_it(
    server: RolloutServer, tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = psutil.Process(server.pid)
    folder = Path(own.environ()["VLLM_RPC_BASE_PATH"])
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    at = [Path(found.laddr) for one in (own, *own.children(recursive=True)) for found in one.net_connections("unix")]
    assert [path for path in at if path.parent == folder]
    assert not [path for path in at if path.parent == Path(tempfile.gettempdir())]

    monkeypatch.setattr(process, "SHARED_MEMORY", tmp_path)
    unused = RolloutServer(tiny_model, load_profile("cpu"), tmp_path / "log")
    assert len(list(tmp_path.glob(f"{TRANSFER_PREFIX}*"))) == 2, "sockets, and weights on their way"
    unused.stop()
    assert not list(tmp_path.glob(f"{TRANSFER_PREFIX}*"))


def test_a_server_that_is_not_there_is_lost() -> None:
    client = RolloutClient(f"http://127.0.0.1:{free_port()}", key="none", timeout_s=2)
    with pytest.raises(ServerLost, match="is gone"):
        client.generate(REQUESTS, DECODING, stop_ids=END)


def test_sample_seeds_are_distinct_between_neighbouring_requests() -> None:
    seeds = [seed for request in REQUESTS for seed in sample_seeds(request)]
    assert len(set(seeds)) == len(seeds) == 15


def test_a_port_that_was_taken_in_between_was_given_up_for_another(server: RolloutServer, taken_port: int) -> None:
    # The fixture offers every server a port first on which somebody listens already.
    assert not server.url.endswith(f":{taken_port}")
    assert "ddress already in use" in server.log.read_text()
