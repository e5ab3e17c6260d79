"""A server that answers vLLM's routes by script and remembers what it was asked, in order. No vLLM, no weights."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit


class ScriptedServer:
    """Keeps an account of versions and of what sleeps; scores what `scores` says."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        """Path with query, and the method of a collective_rpc; questions that change nothing are left out."""
        self.bodies: list[tuple[str, dict[str, Any]]] = []
        self.version = "default"
        self.sleeping: set[str] = set()
        self.scores: list[list[float]] = []
        self.workers = 1
        self.digests: Callable[[str, dict[str, Any]], list[Any]] | None = None
        """What workers answer when they are asked for checksums; none where it is not given."""
        self.resets_refused = 0
        """How many more times the prefix cache is in use."""
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self._answer(outer.got(self.path))

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])) or b"{}")
                self._answer(outer.posted(self.path, body))

            def _answer(self, value: dict[str, Any]) -> None:
                payload = json.dumps(value).encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(payload)))
                self.end_headers()
                self.wfile.write(payload)

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def got(self, path: str) -> dict[str, Any]:
        if path == "/is_sleeping":
            return {"is_sleeping": bool(self.sleeping)}
        if path == "/get_world_size":
            return {"world_size": self.workers}
        return {"policy_version": self.version}

    def posted(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        self.bodies.append((path, body))
        route = urlsplit(path)
        self.asked.append(body["method"] if route.path == "/collective_rpc" else path)
        if self.digests is not None and body.get("method") == "tensor_digests":
            return {"results": self.digests("tensor_digests", json.loads(body["args"][0]))}
        if route.path == "/sleep":
            self.sleeping = {"weights", "kv_cache"}
        elif route.path == "/wake_up":
            self.sleeping -= {route.query.removeprefix("tags=")} if route.query else self.sleeping
        elif route.path == "/v1/score":
            assert not self.sleeping, "a forward pass needs weights and cache"
            return {"logprobs": self.scores}
        elif route.path == "/update_weights":
            assert "weights" not in self.sleeping, "weights arrive where there is memory for them"
        elif route.path == "/finish_weight_update":
            self.version = body["weight_version"]
        elif route.path == "/reset_prefix_cache":
            self.resets_refused -= 1
            return {"success": self.resets_refused < 0}
        elif route.path == "/update_weight_version":
            self.version = body["new_version"]
        return {"results": []}
