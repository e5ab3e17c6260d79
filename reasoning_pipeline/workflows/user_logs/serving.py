"""An OpenAI endpoint that routes: each query goes to an expert, to the critic's path, or to the base, and says so.

The base is in this process and reads an adapter when it is first asked for. `routing` in the answer has path, cluster,
distance, generations, adapter and advice.
"""

from __future__ import annotations

import hmac
import json
import threading
import time
import uuid
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from reasoning_pipeline.data.config import PromptConfig
from reasoning_pipeline.errors import PipelineError
from reasoning_pipeline.hardware.profile import HardwareProfile
from reasoning_pipeline.run.speaking import Speaker
from reasoning_pipeline.workflows.user_logs.logs import Log
from reasoning_pipeline.workflows.user_logs.opening import open_system
from reasoning_pipeline.workflows.user_logs.system import Answer, System

MAX_BODY_BYTES = 1_000_000
Answering = Callable[[str, str, int], Answer]
"""(query, language, seed) -> answer."""


def serve(
    folder: Path, profile: HardwareProfile, prompt: PromptConfig | None, *, host: str, port: int, key: str
) -> None:
    """Answer until KeyboardInterrupt."""
    if profile.engine != "transformers":
        raise PipelineError(
            f"the profile {profile.name!r} writes with vLLM; a system is served by `engine: transformers` alone",
            remedy="serve with --hardware cpu_transformers, or a profile of your own with that engine",
        )
    system, speaker = open_system(folder, profile, prompt)
    check(system)
    router = make_router(answering(system, speaker), folder.name, host=host, port=port, key=key)
    paths = ", ".join(f"{cluster}: {system.paths[cluster]}" for cluster in sorted(system.paths))
    print(f"{folder.name} answers at http://{host}:{router.server_port}/v1/chat/completions", flush=True)
    print(f"clusters {paths}; Ctrl-C stops it", flush=True)
    try:
        router.serve_forever()
    finally:
        router.server_close()


def check(system: System) -> None:
    """Every adapter belongs to this base, and the embedder to these centroids, before anybody asks."""
    from reasoning_pipeline.rollouts.adapted import check_adapter

    for adapter in sorted(system.folder.glob("adapters/*")):
        check_adapter(adapter, system.base)
    system.route(["hello"])


def answering(system: System, speaker: Speaker) -> Answering:
    """One query at a time: the model is in this process."""
    lock = threading.Lock()

    def answer(query: str, language: str, seed: int) -> Answer:
        with lock:
            return system.answer([query], [language], speaker, seed)[0]

    return answer


def make_router(answer: Answering, name: str, *, host: str, port: int, key: str) -> ThreadingHTTPServer:
    """The HTTP side: `/health`, `/v1/models`, `/v1/chat/completions` behind a key."""

    class Handler(BaseHTTPRequestHandler):
        timeout = 60

        def log_message(self, format: str, *args: Any) -> None:
            """Queries are people's words: none is logged."""

        def do_GET(self) -> None:
            if self.path == "/health":
                self._reply(200, {})
            elif self._allowed():
                self._reply(200, {"object": "list", "data": [{"id": name, "object": "model"}]})

        def do_POST(self) -> None:
            if not self._allowed():
                return
            if self.path != "/v1/chat/completions":
                self._refuse(404, f"no route {self.path[:100]}")
                return
            size = self.headers.get("Content-Length", "")
            if not size.isdigit() or int(size) > MAX_BODY_BYTES:
                self._refuse(413, f"a body of at most {MAX_BODY_BYTES:,} bytes, with its Content-Length")
                return
            try:
                query, language, seed = read_request(self.rfile.read(int(size)))
                found = answer(query, language, seed)
            except (ValueError, RecursionError) as error:
                self._refuse(400, str(error)[:300])
            except PipelineError as error:
                self._refuse(400 if error.exit_status == 2 else 503, error.message[:300])
            else:
                self._reply(200, completion(found, name))

        def _allowed(self) -> bool:
            given = self.headers.get("Authorization", "").removeprefix("Bearer ")
            if hmac.compare_digest(given.encode(), key.encode()):
                return True
            self._refuse(401, "the key is missing or another")
            return False

        def _refuse(self, status: int, message: str) -> None:
            self._reply(status, {"error": {"message": message, "code": status}})

        def _reply(self, status: int, values: dict[str, Any]) -> None:
            body = json.dumps(values, ensure_ascii=False).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    return ThreadingHTTPServer((host, port), Handler)


def read_request(body: bytes) -> tuple[str, str, int]:
    """(query, language, seed) of a chat request. Raises ValueError for what this router does not do."""
    values = json.loads(body)
    messages = values.get("messages") if isinstance(values, dict) else None
    if not isinstance(messages, list) or not messages:
        raise ValueError("messages: expected a list of turns")
    for turn in messages:
        if not isinstance(turn, dict) or not all(isinstance(turn.get(name), str) for name in ("role", "content")):
            raise ValueError("messages: each turn has a role and a text")
    if values.get("stream") or values.get("n", 1) != 1:
        raise ValueError("stream and n are not served: a reflective answer is ready only after its third generation")
    seed, language = values.get("seed", 0), values.get("language", "en")
    if not isinstance(seed, int) or language not in ("en", "zh", "small"):
        raise ValueError("seed: a whole number; language: en or zh")
    log = Log(id="", query=tuple(messages), answer="", feedback=())
    return log.question, language, seed


def completion(found: Answer, name: str) -> dict[str, Any]:
    """In OpenAI's form, with `routing` beside."""
    return {
        "id": f"chatcmpl-{uuid.uuid4().hex}",
        "object": "chat.completion",
        "created": int(time.time()),
        "model": name,
        "choices": [
            {"index": 0, "message": {"role": "assistant", "content": found.text}, "finish_reason": "stop"},
        ],
        "routing": found.metadata(),
    }
