"""Against a real vLLM with adapters: each request by its own adapter or none, and output that keeps to a schema."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from reasoning_pipeline.data.config import PromptConfig
from reasoning_pipeline.data.prompts import PromptRenderer
from reasoning_pipeline.errors import ServerError
from reasoning_pipeline.hardware.profile import load_profile
from reasoning_pipeline.records import Decoding
from reasoning_pipeline.rollouts.adapted import AdaptedModel
from reasoning_pipeline.rollouts.clients.completions import GenerationRequest
from reasoning_pipeline.rollouts.servers.process import RolloutServer, Service
from tests.adapters import make_adapter

pytestmark = pytest.mark.slow

END, PROMPT = [2], [1, 20, 15, 24, 3]
GREEDY = Decoding(temperature=0.0, max_tokens=8)


@pytest.fixture(scope="module")
def adapters(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("adapters")
    for seed in (1, 2):
        make_adapter(folder / f"expert-{seed}", tiny_model, seed)
    return folder


@pytest.fixture(scope="module")
def served(tiny_model: Path, adapters: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RolloutServer]:
    log = tmp_path_factory.mktemp("server") / "server.log"
    service = Service(development=False, adapters=(4, 2))
    server = RolloutServer(tiny_model, load_profile("cpu"), log, readable=(adapters,), service=service)
    try:
        server.start()
        server.wait_ready()
        yield server
    finally:
        server.stop()


def test_each_request_is_written_with_its_own_adapter_or_none(served, adapters: Path, tiny_model: Path) -> None:
    named = [None, adapters / "expert-1", None, adapters / "expert-2"]
    requests = [GenerationRequest(prompt_ids=PROMPT, adapter=adapter) for adapter in named]
    written = [group[0] for group in served.client.generate(requests, GREEDY, stop_ids=END)]
    here = AdaptedModel(tiny_model, dtype="float32", device="cpu").generate(requests, GREEDY, stop_ids=END)
    assert written[0].token_ids == written[2].token_ids
    assert len({tuple(one.token_ids) for one in written}) == 3, "the adapters do something, each its own"
    for ours, (theirs,) in zip(written, here, strict=True):
        assert ours.token_ids == theirs.token_ids
        assert ours.logprobs == pytest.approx(theirs.logprobs, abs=1e-4)


def test_an_adapter_that_cannot_be_loaded_is_refused_and_the_server_lives(served, adapters, tiny_model, tmp_path):
    def ask(folder: Path) -> None:
        served.client.generate([GenerationRequest(prompt_ids=PROMPT, adapter=folder)], GREEDY, stop_ids=END)

    make_adapter(tmp_path / "elsewhere", tiny_model, 3)
    with pytest.raises(ServerError, match="outside the folders"):
        ask(tmp_path / "elsewhere")
    with pytest.raises(ServerError, match=r"holds no adapter_model\.safetensors"):
        ask(adapters / "nothing")
    make_adapter(adapters / "large", tiny_model, 4, rank=16)
    with pytest.raises(ServerError, match=r"cannot be loaded.*rank"):
        ask(adapters / "large")
    assert served.client.generate([GenerationRequest(prompt_ids=PROMPT)], GREEDY, stop_ids=END)[0][0].token_ids


def test_a_completion_keeps_to_its_schema(served, tiny_model: Path) -> None:
    schema = json.dumps({"type": "array", "items": {"type": "integer"}, "minItems": 2, "maxItems": 2})
    decoding = Decoding(temperature=1.0, max_tokens=60)
    requests = [GenerationRequest(prompt_ids=PROMPT, n=4, schema=schema), GenerationRequest(prompt_ids=PROMPT)]
    groups = served.client.generate(requests, decoding, stop_ids=END)
    renderer = PromptRenderer.from_folder(tiny_model, PromptConfig())
    texts = [renderer.decode(one.token_ids) for one in groups[0] if one.finish == "stop"]
    assert texts and all(len(json.loads(text)) == 2 for text in texts)
    with pytest.raises(ValueError):  # random weights write no JSON by themselves
        json.loads(renderer.decode(groups[1][0].token_ids))


def test_a_schema_that_is_none_is_refused(served) -> None:
    with pytest.raises(ServerError):
        served.client.generate([GenerationRequest(prompt_ids=PROMPT, schema="{")], GREEDY, stop_ids=END)
    assert served.client.healthy()
