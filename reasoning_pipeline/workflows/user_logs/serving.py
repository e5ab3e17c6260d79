"""An OpenAI endpoint that routes: each query goes to an expert, to the critic's path, or to the base, and says so.

`routing` in an answer has path, cluster, distance, generations, adapter and advice. Behind the router is one vLLM that
loads an adapter when it is first asked for, or the base in this process (`engine: transformers`). With `stream` the
answer comes as events, but whole: a reflective answer is known only after its third generation.
"""

from __future__ import annotations

import json
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator
from starlette.applications import Starlette
from starlette.responses import StreamingResponse

from reasoning_pipeline.data.config import PromptConfig
from reasoning_pipeline.hardware.profile import HardwareProfile
from reasoning_pipeline.models.adapters import check_adapter
from reasoning_pipeline.run.endpoint import Refused, application, listen
from reasoning_pipeline.run.speaking import Speaker
from reasoning_pipeline.workflows.user_logs.logs import MAX_TURNS, Log, text_of
from reasoning_pipeline.workflows.user_logs.opening import opened_system
from reasoning_pipeline.workflows.user_logs.system import Answer, System

NOT_SERVED = ("tools", "functions", "response_format", "logprobs", "top_logprobs", "logit_bias", "audio", "stop")
"""Refused where asked for; other fields that this router does not know change nothing of importance."""


class Turn(BaseModel):
    model_config = ConfigDict(extra="ignore")

    role: str = Field(pattern="^(system|developer|user|assistant)$")
    content: str

    _parts = field_validator("content", mode="before")(text_of)


class Asked(BaseModel):
    """A chat request, as far as this router reads it."""

    model_config = ConfigDict(extra="allow")

    model: str
    messages: list[Turn] = Field(min_length=1, max_length=MAX_TURNS)
    stream: bool = False
    stream_options: dict[str, Any] | None = None
    n: int = 1
    seed: int | None = 0
    temperature: float | None = Field(None, ge=0, le=2)
    max_tokens: int | None = Field(None, ge=1)
    max_completion_tokens: int | None = Field(None, ge=1)
    language: str | None = None
    """`en`, `zh` or `small`: that of the prompts of critic and revision; the system's own where it is not given."""

    @classmethod
    def read(cls, value: Any) -> Asked:
        """Raises Refused for what is no request, or asks for what this router does not do."""
        try:
            asked = cls.model_validate(value)
        except ValidationError as error:
            first = error.errors()[0]
            place = ".".join(map(str, first["loc"])) or "request"
            raise Refused(400, f"{place}: {first['msg'][:200]}", param=place) from None
        for name in NOT_SERVED:
            if (asked.model_extra or {}).get(name):
                raise Refused(400, f"{name} is not served", param=name, code="unsupported_parameter")
        if asked.n != 1:
            raise Refused(400, "one answer a request (n: 1)", param="n", code="unsupported_parameter")
        if asked.messages[-1].role != "user" or not asked.messages[-1].content.strip():
            raise Refused(400, "messages: the last turn is the user's, and is not empty", param="messages")
        if asked.language not in (None, "en", "zh", "small"):
            raise Refused(400, "language: en, zh or small", param="language")
        return asked

    @property
    def query(self) -> str:
        turns = tuple({"role": turn.role, "content": turn.content} for turn in self.messages)
        return Log(id="", query=turns, answer="", feedback=()).question


@dataclass(frozen=True, kw_only=True)
class Answered:
    """An answer and what it cost."""

    answer: Answer
    prompt_tokens: int
    """Of the query as the base reads it."""
    completion_tokens: int
    """Of every generation, drafts and advice too."""
    cut: bool


Answering = Callable[[Asked], Answered]


def serve(
    folder: Path, profile: HardwareProfile, prompt: PromptConfig | None, *, host: str, port: int | None, key: str
) -> None:
    """Answer until KeyboardInterrupt."""
    with opened_system(folder, profile, prompt) as (system, speaker):
        check(system)

        def ready(url: str) -> None:
            paths = ", ".join(f"{cluster}: {system.paths[cluster]}" for cluster in sorted(system.paths))
            print(f"{folder.name} answers at {url}/v1/chat/completions; clusters {paths}; Ctrl-C stops it", flush=True)

        one_at_a_time = profile.engine == "transformers"
        app = router(answering(system, speaker, one_at_a_time=one_at_a_time), folder.name, key)
        listen(app, host=host, port=port, ready=ready)


def check(system: System) -> None:
    """Every adapter belongs to this base, and the embedder to these centroids, before anybody asks."""
    for adapter in sorted(system.folder.glob("adapters/*")):
        check_adapter(adapter, system.base)
    system.route(["hello"])


def answering(system: System, speaker: Speaker, *, one_at_a_time: bool = True) -> Answering:
    """What answers a request. A model in this process writes one answer at a time, a server as many as are asked."""
    alone: AbstractContextManager[Any] = threading.Lock() if one_at_a_time else nullcontext()

    def answer(asked: Asked) -> Answered:
        # Of its own: what each request costs is counted apart.
        own = Speaker(
            speaker.sampler,
            speaker.renderer,
            version=speaker.version,
            max_prompt_tokens=speaker.max_prompt_tokens,
        )
        decoding = system.thresholds.decoding(asked.seed or 0)
        most = min(limit for limit in (decoding.max_tokens, asked.max_tokens, asked.max_completion_tokens) if limit)
        temperature = decoding.temperature if asked.temperature is None else asked.temperature
        decoding = replace(decoding, max_tokens=most, temperature=temperature)
        with alone:
            found = system.answer([asked.query], [asked.language or system.language], own, decoding)[0]
        written = len(own.renderer.tokenizer.encode(found.text, add_special_tokens=False).ids)
        return Answered(
            answer=found,
            prompt_tokens=len(own.renderer.prompt_ids(asked.query)),
            completion_tokens=own.tokens,
            cut=written >= most,
        )

    return answer


def router(answer: Answering, name: str, key: str) -> Starlette:
    """`/health`, `/v1/models` and `/v1/chat/completions`."""
    models = {"object": "list", "data": [{"id": name, "object": "model", "created": 0, "owned_by": "user_logs"}]}

    def chat(value: Any) -> Any:
        asked = Asked.read(value)
        if asked.model != name:
            said = f"there is no model {asked.model[:100]!r} here, only {name!r}"
            raise Refused(404, said, param="model", code="model_not_found")
        found = answer(asked)
        if asked.stream:
            usage = bool((asked.stream_options or {}).get("include_usage"))
            return StreamingResponse(events(found, name, usage=usage), media_type="text/event-stream")
        return completion(found, name)

    routes = {"GET /v1/models": lambda _: models, "POST /v1/chat/completions": chat}
    return application(routes, key, health={"model": name})


def completion(found: Answered, name: str) -> dict[str, Any]:
    """In OpenAI's form, with `routing` beside."""
    message = {"role": "assistant", "content": found.answer.text}
    choice = {"index": 0, "message": message, "finish_reason": "length" if found.cut else "stop"}
    return {**_head(name, "chat.completion"), "choices": [choice], **_cost(found), "routing": found.answer.metadata()}


def events(found: Answered, name: str, *, usage: bool) -> Iterator[str]:
    """The same as chunks: who speaks, the text, how it ended with `routing`, and the usage where it was asked for."""
    head = _head(name, "chat.completion.chunk")

    def event(delta: dict[str, str], finish: str | None = None, **more: Any) -> str:
        choices = [{"index": 0, "delta": delta, "finish_reason": finish}]
        return f"data: {json.dumps({**head, 'choices': choices, **more}, ensure_ascii=False)}\n\n"

    yield event({"role": "assistant", "content": ""})
    yield event({"content": found.answer.text})
    yield event({}, "length" if found.cut else "stop", routing=found.answer.metadata())
    if usage:
        yield f"data: {json.dumps({**head, 'choices': [], **_cost(found)})}\n\n"
    yield "data: [DONE]\n\n"


def _head(name: str, kind: str) -> dict[str, Any]:
    return {"id": f"chatcmpl-{uuid.uuid4().hex}", "object": kind, "created": int(time.time()), "model": name}


def _cost(found: Answered) -> dict[str, Any]:
    total = found.prompt_tokens + found.completion_tokens
    usage = {"prompt_tokens": found.prompt_tokens, "completion_tokens": found.completion_tokens, "total_tokens": total}
    return {"usage": usage}
