"""The endpoint: OpenAI's forms, which path answered, and what is refused."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from starlette.testclient import TestClient

from reasoning_pipeline.data.config import PromptConfig
from reasoning_pipeline.errors import PipelineError, ServerLost
from reasoning_pipeline.hardware.profile import load_profile
from reasoning_pipeline.run.chat import Reply
from reasoning_pipeline.workflows.user_logs.opening import opened_system
from reasoning_pipeline.workflows.user_logs.serving import answering, router
from reasoning_pipeline.workflows.user_logs.system import Answer
from tests.workflows.user_logs.test_system import ADVISED, FAR, NEAR, opened, published  # noqa: F401

KEY = {"Authorization": "Bearer " + "k" * 24}
QUERY = {"role": "user", "content": "hi"}


@pytest.fixture
def client(opened) -> TestClient:  # noqa: F811
    return TestClient(router(answering(*opened), "uno", "k" * 24), headers=KEY)


def scripted(answer: Any) -> TestClient:
    return TestClient(router(answer, "uno", "k" * 24), headers=KEY, raise_server_exceptions=False)


def said(asked: Any) -> Reply:
    answer = Answer(text="hello", path="base", cluster=None, distance=1.3, generations=1)
    routing = {"routing": answer.metadata()}
    return Reply(text=answer.text, prompt_tokens=3, completion_tokens=4, cut=False, beside=routing)


def test_the_router_answers_as_openai_does_and_says_which_path(client: TestClient) -> None:
    body = {"model": "uno", "messages": [{"role": "user", "content": ADVISED}], "language": "small", "seed": 3}
    reply = client.post("/v1/chat/completions", json=body)
    assert reply.status_code == 200, reply.text
    found = reply.json()
    assert found["object"] == "chat.completion" and found["choices"][0]["message"]["role"] == "assistant"
    assert (found["routing"]["path"], found["routing"]["generations"], found["routing"]["cluster"]) == (
        "reflective",
        3,
        1,
    )
    assert found["usage"]["prompt_tokens"] > 0 and 3 <= found["usage"]["completion_tokens"] <= 12
    assert client.get("/v1/models").json()["data"][0]["id"] == "uno"


def test_fewer_tokens_may_be_asked_for_and_a_cut_answer_says_so(client: TestClient) -> None:
    body = {"model": "uno", "messages": [{"role": "user", "content": "7-7"}], "language": "small", "max_tokens": 1}
    found = client.post("/v1/chat/completions", json=body).json()
    assert found["usage"]["completion_tokens"] == 1 and found["choices"][0]["finish_reason"] == "length"


def test_a_stream_is_the_same_answer_in_events() -> None:
    body = {"model": "uno", "messages": [QUERY], "stream": True, "stream_options": {"include_usage": True}}
    reply = scripted(said).post("/v1/chat/completions", json=body)
    assert reply.headers["content-type"].startswith("text/event-stream")
    *events, done, rest = reply.text.split("\n\n")
    assert (done, rest) == ("data: [DONE]", "")
    chunks = [json.loads(event.removeprefix("data: ")) for event in events]
    assert {chunk["object"] for chunk in chunks} == {"chat.completion.chunk"} and len({c["id"] for c in chunks}) == 1
    assert "".join(c["choices"][0]["delta"].get("content", "") for c in chunks[:-1]) == "hello"
    assert chunks[-2]["choices"][0]["finish_reason"] == "stop" and chunks[-2]["routing"]["path"] == "base"
    assert chunks[-1]["usage"] == {"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7}


def test_content_may_come_in_parts_of_text() -> None:
    asked = []
    parts = [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]
    messages = [{"role": "system", "content": "s"}, {"role": "user", "content": parts}]
    answer = scripted(lambda one: asked.append(one) or said(one))
    assert answer.post("/v1/chat/completions", json={"model": "uno", "messages": messages}).status_code == 200
    assert asked[0].query == "system: s\n\na\nb"


@pytest.mark.parametrize(
    ("body", "status", "param", "words"),
    [
        (b"{", 400, None, "no JSON"),
        (b"[" * 50_000, 400, None, "nested too deeply"),
        (b"{}", 400, "model", "Field required"),
        (b" " * ((1 << 20) + 1), 413, None, "larger than 1024 KiB"),
        ({"messages": ["hi"]}, 400, "messages.0", "valid dictionary"),
        ({"messages": []}, 400, "messages", "at least 1"),
        ({"messages": [{"role": "tool", "content": "x"}]}, 400, "messages.0.role", "match pattern"),
        (
            {"messages": [{"role": "user", "content": [{"type": "image_url"}]}]},
            400,
            "messages.0.content",
            "valid string",
        ),
        ({"messages": [{"role": "assistant", "content": "x"}]}, 400, "messages", "the last turn is the user's"),
        ({"messages": [{"role": "user", "content": " "}]}, 400, "messages", "not empty"),
        ({"n": 2}, 400, "n", "one answer"),
        ({"tools": [{"type": "function"}]}, 400, "tools", "tools is not served"),
        ({"response_format": {"type": "json_object"}}, 400, "response_format", "is not served"),
        ({"temperature": 9}, 400, "temperature", "less than or equal to 2"),
        ({"model": "gpt"}, 404, "model", "there is no model 'gpt' here, only 'uno'"),
        ({"language": "xx"}, 400, "language", "en, zh or small"),
    ],
)
def test_a_request_that_is_none_is_refused_in_openais_form(body: Any, status: int, param: str | None, words: str):
    client = scripted(said)
    if isinstance(body, dict):
        body = json.dumps({"model": "uno", "messages": [QUERY], **body}).encode()
    reply = client.post("/v1/chat/completions", content=body)
    error = reply.json()["error"]
    assert (reply.status_code, error["type"], error["param"]) == (status, "invalid_request_error", param), error
    assert words in error["message"]
    assert client.get("/health").status_code == 200


@pytest.mark.parametrize(
    ("error", "status"), [(ServerLost("gone"), 503), (PipelineError("broken"), 503), (RuntimeError("secret"), 500)]
)
def test_what_goes_wrong_here_is_told_as_ours(error: Exception, status: int) -> None:
    def failing(asked: Any) -> Reply:
        raise error

    reply = scripted(failing).post("/v1/chat/completions", json={"model": "uno", "messages": [QUERY]})
    assert (reply.status_code, reply.json()["error"]["type"]) == (status, "server_error")
    assert "secret" not in reply.text


def test_without_the_key_nobody_is_answered() -> None:
    client = scripted(said)
    reply = client.post("/v1/chat/completions", headers={"Authorization": "Bearer x"}, json={})
    assert (reply.status_code, reply.json()["error"]["code"]) == (401, "invalid_api_key")
    assert client.get("/v1/models", headers={"Authorization": ""}).status_code == 401
    assert client.get("/v1/nothing").json()["error"]["code"] == "not_found"


@pytest.mark.slow
def test_one_vllm_answers_all_paths_as_the_model_in_this_process_does(published, opened) -> None:  # noqa: F811
    """Greedy, several at once, through OpenAI's own client's forms."""
    queries = [NEAR, ADVISED, FAR, NEAR]

    def texts(client: TestClient) -> list[tuple[str, str]]:
        def ask(query: str) -> tuple[str, str]:
            body = {"model": "uno", "messages": [{"role": "user", "content": query}], "language": "small"}
            found = client.post("/v1/chat/completions", json=body).json()
            return found["routing"]["path"], found["choices"][0]["message"]["content"]

        with ThreadPoolExecutor(len(queries)) as pool:
            return list(pool.map(ask, queries))

    here = texts(TestClient(router(answering(*opened), "uno", "k" * 24), headers=KEY))
    with opened_system(published, load_profile("cpu"), PromptConfig()) as (system, speaker):
        answer = answering(system, speaker, one_at_a_time=False)
        there = texts(TestClient(router(answer, "uno", "k" * 24), headers=KEY))
    assert [path for path, _ in here] == ["primary", "reflective", "base", "primary"]
    assert there == here
