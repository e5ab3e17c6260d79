"""OpenAI's chat form, for an endpoint whose answers are no plain generation (endpoint.py).

What is read of a request, and an answer whole or as events. Behind it may be several generations, so an answer is known
only at its end: with `stream` its text comes in one piece.
"""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator
from starlette.responses import StreamingResponse

from reasoning_pipeline.base.messages import ROLES, as_one_text, text_of
from reasoning_pipeline.run.endpoint import Answer, Refused

NOT_SERVED = ("tools", "functions", "response_format", "logprobs", "top_logprobs", "logit_bias", "audio", "stop")
"""Refused where asked for; other fields that are not known change nothing of importance."""
MOST_TURNS = 64


class Turn(BaseModel):
    model_config = ConfigDict(extra="ignore")

    role: str = Field(pattern=f"^({'|'.join(ROLES)})$")
    content: str

    _parts = field_validator("content", mode="before")(text_of)


class ChatRequest(BaseModel):
    """A request, as far as it is read; a workflow adds fields of its own."""

    model_config = ConfigDict(extra="allow")

    model: str
    messages: list[Turn] = Field(min_length=1, max_length=MOST_TURNS)
    stream: bool = False
    stream_options: dict[str, Any] | None = None
    n: int = 1
    seed: int | None = 0
    temperature: float | None = Field(None, ge=0, le=2)
    max_tokens: int | None = Field(None, ge=1)
    max_completion_tokens: int | None = Field(None, ge=1)

    @classmethod
    def read(cls, value: Any) -> Self:
        """Raises Refused for what is no request, or asks for what is not served."""
        try:
            asked = cls.model_validate(value)
        except ValidationError as error:
            raise Refused.unfit(error) from None
        for name in NOT_SERVED:
            if (asked.model_extra or {}).get(name):
                raise Refused(400, f"{name} is not served", param=name, code="unsupported_parameter")
        if asked.n != 1:
            raise Refused(400, "one answer a request (n: 1)", param="n", code="unsupported_parameter")
        if asked.messages[-1].role != "user" or not asked.messages[-1].content.strip():
            raise Refused(400, "messages: the last turn is the user's, and is not empty", param="messages")
        return asked

    @property
    def query(self) -> str:
        return as_one_text([turn.model_dump() for turn in self.messages])


@dataclass(frozen=True, kw_only=True)
class Reply:
    """An answer and what it cost."""

    text: str
    prompt_tokens: int
    """Of the query."""
    completion_tokens: int
    """Of every generation that led to the answer."""
    cut: bool
    beside: dict[str, Any] = field(default_factory=dict)
    """Keys of the endpoint's own, beside `choices`."""

    def completion(self, name: str) -> dict[str, Any]:
        """In OpenAI's form."""
        message = {"role": "assistant", "content": self.text}
        choice = {"index": 0, "message": message, "finish_reason": self._finish}
        return {**_head(name, "chat.completion"), "choices": [choice], **self._cost, **self.beside}

    def events(self, name: str, *, usage: bool) -> Iterator[str]:
        """The same as chunks: who speaks, the text, how it ended, and the usage where it was asked for."""
        head = _head(name, "chat.completion.chunk")

        def event(choices: list[dict[str, Any]], **more: Any) -> str:
            return f"data: {json.dumps({**head, 'choices': choices, **more}, ensure_ascii=False)}\n\n"

        for delta in ({"role": "assistant", "content": ""}, {"content": self.text}):
            yield event([{"index": 0, "delta": delta, "finish_reason": None}])
        yield event([{"index": 0, "delta": {}, "finish_reason": self._finish}], **self.beside)
        if usage:
            yield event([], **self._cost)
        yield "data: [DONE]\n\n"

    @property
    def _finish(self) -> str:
        return "length" if self.cut else "stop"

    @property
    def _cost(self) -> dict[str, Any]:
        cost = {"prompt_tokens": self.prompt_tokens, "completion_tokens": self.completion_tokens}
        return {"usage": {**cost, "total_tokens": sum(cost.values())}}


Asked = TypeVar("Asked", bound=ChatRequest)


def chat_routes(request: type[Asked], answer: Callable[[Asked], Reply], *, name: str, owner: str) -> dict[str, Answer]:
    """`/v1/models` with one model of this name, and `/v1/chat/completions`."""
    models = {"object": "list", "data": [{"id": name, "object": "model", "created": 0, "owned_by": owner}]}

    def chat(value: Any) -> Any:
        asked = request.read(value)
        if asked.model != name:
            said = f"there is no model {asked.model[:100]!r} here, only {name!r}"
            raise Refused(404, said, param="model", code="model_not_found")
        found = answer(asked)
        if asked.stream:
            usage = bool((asked.stream_options or {}).get("include_usage"))
            return StreamingResponse(found.events(name, usage=usage), media_type="text/event-stream")
        return found.completion(name)

    return {"GET /v1/models": lambda _: models, "POST /v1/chat/completions": chat}


def _head(name: str, kind: str) -> dict[str, Any]:
    return {"id": f"chatcmpl-{uuid.uuid4().hex}", "object": kind, "created": int(time.time()), "model": name}
