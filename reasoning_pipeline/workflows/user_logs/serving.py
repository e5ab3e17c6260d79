"""An OpenAI endpoint that routes: each query goes to an expert, to the critic's path, or to the base, and says so.

`routing` in an answer has path, cluster, distance, generations, adapter and advice. Behind the router is one vLLM that
loads an adapter when it is first asked for, or the base in this process (`engine: transformers`).
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

from starlette.applications import Starlette

from reasoning_pipeline.data.config import PromptConfig
from reasoning_pipeline.hardware.profile import HardwareProfile
from reasoning_pipeline.run.chat import ChatRequest, Reply, chat_routes
from reasoning_pipeline.run.endpoint import Refused, application, listen
from reasoning_pipeline.run.speaking import Speaker
from reasoning_pipeline.workflows.user_logs.opening import opened_system
from reasoning_pipeline.workflows.user_logs.system import System


class Asked(ChatRequest):
    language: str | None = None
    """`en`, `zh` or `small`: that of the prompts of critic and revision; the system's own where it is not given."""

    @classmethod
    def read(cls, value: Any) -> Self:
        asked = super().read(value)
        if asked.language not in (None, "en", "zh", "small"):
            raise Refused(400, "language: en, zh or small", param="language")
        return asked


Answering = Callable[[Asked], Reply]


def serve(
    folder: Path, profile: HardwareProfile, prompt: PromptConfig | None, *, host: str, port: int | None, key: str
) -> None:
    """Answer until KeyboardInterrupt."""
    with opened_system(folder, profile, prompt) as (system, speaker):

        def ready(url: str) -> None:
            paths = ", ".join(f"{cluster}: {system.paths[cluster]}" for cluster in sorted(system.paths))
            print(f"{folder.name} answers at {url}/v1/chat/completions; clusters {paths}; Ctrl-C stops it", flush=True)

        one_at_a_time = profile.engine == "transformers"
        app = router(answering(system, speaker, one_at_a_time=one_at_a_time), folder.name, key)
        listen(app, host=host, port=port, ready=ready)


def answering(system: System, speaker: Speaker, *, one_at_a_time: bool = True) -> Answering:
    """What answers a request. A model in this process writes one answer at a time, a server as many as are asked."""
    alone: AbstractContextManager[Any] = threading.Lock() if one_at_a_time else nullcontext()

    def answer(asked: Asked) -> Reply:
        # Of its own: what each request costs is counted apart.
        own = Speaker(
            speaker.sampler, speaker.renderer, version=speaker.version, max_prompt_tokens=speaker.max_prompt_tokens
        )
        decoding = system.thresholds.decoding(asked.seed or 0)
        most = min(limit for limit in (decoding.max_tokens, asked.max_tokens, asked.max_completion_tokens) if limit)
        temperature = decoding.temperature if asked.temperature is None else asked.temperature
        decoding = replace(decoding, max_tokens=most, temperature=temperature)
        with alone:
            found = system.answer([asked.query], [asked.language or system.language], own, decoding)[0]
        written = len(own.renderer.tokenizer.encode(found.text, add_special_tokens=False).ids)
        return Reply(
            text=found.text,
            prompt_tokens=len(own.renderer.prompt_ids(asked.query)),
            completion_tokens=own.tokens,
            cut=written >= most,
            beside={"routing": found.metadata()},
        )

    return answer


def router(answer: Answering, name: str, key: str) -> Starlette:
    """`/health`, `/v1/models` and `/v1/chat/completions`."""
    return application(chat_routes(Asked, answer, name=name, owner="user_logs"), key, health={"model": name})
