"""A server's side of a push over a blocking group of processes, without vLLM and CUDA: a socket in NCCL's place.

As a program (`python -m tests.rollouts.pushed_to`) it prints its URL and the group's port, and answers the routes of a
push. What watches over its receiving is what watches in our vLLM worker (weight_engine.py): Watch, with the same limit.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import struct
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

import torch

from reasoning_pipeline.rollouts.vllm.plugin import SILENCE_VARIABLE
from reasoning_pipeline.rollouts.weights.deadline import Watch


class SocketGroup:
    """Broadcasts that block as NCCL's do, until everybody has taken them or the group is aborted."""

    def __init__(self, ends: list[socket.socket]) -> None:
        self.ends, self.disabled = ends, False

    @classmethod
    def connect(cls, port: int) -> Self:
        return cls([socket.create_connection(("127.0.0.1", port))])

    @classmethod
    def together(cls, groups: list[Self]) -> Self:
        return cls([end for group in groups for end in group.ends])

    def broadcast(self, tensor: torch.Tensor) -> None:
        """A peer that is gone is not noticed, as NCCL does not notice: the call then waits until it is aborted."""
        payload = tensor.numpy().tobytes()
        for end in self.ends:
            try:
                end.sendall(struct.pack("<q", len(payload)) + payload)
                while not self.disabled and end.recv(1) == b"":
                    threading.Event().wait(0.02)
            except OSError:
                while not self.disabled:
                    threading.Event().wait(0.02)

    def receive(self) -> bytes | None:
        """One tensor's; None where the group was aborted."""
        (end,) = self.ends
        try:
            left = struct.unpack("<q", self._exactly(end, 8))[0]
            payload = self._exactly(end, left)
            end.sendall(b"k")
        except OSError:
            return None
        return payload

    def _exactly(self, end: socket.socket, count: int) -> bytes:
        read = b""
        while len(read) < count:
            part = end.recv(count - len(read))
            if part == b"":  # the trainer is gone, and NCCL does not say so
                while not self.disabled:
                    threading.Event().wait(0.02)
                raise OSError("aborted")
            read += part
        return read

    def destroy(self) -> None:
        """As PyNcclCommunicator's: aborts from another thread; broadcasts do nothing from then on."""
        self.disabled = True
        for end in self.ends:
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()


class Server:
    def __init__(self) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.version = "default"
        self.group: SocketGroup | None = None

    def update_weights(self, count: int) -> None:
        group = SocketGroup([self.listener.accept()[0]])
        with Watch(float(os.environ[SILENCE_VARIABLE]), abort=group.destroy, leave=lambda why: os._exit(1)) as watch:
            for _ in range(count):
                if group.receive() is None:
                    break
                watch.moved()


COUNT = 200


def main() -> None:
    server = Server()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._answer(200, {"policy_version": server.version})

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])) or b"{}")
            if self.path == "/update_weights":
                try:
                    server.update_weights(COUNT)
                except Exception as error:
                    self._answer(500, {"error": str(error)})
                    return
            elif self.path == "/finish_weight_update":
                server.version = body["weight_version"]
            elif self.path == "/update_weight_version":
                server.version = body["new_version"]
            self._answer(200, {"results": [], "success": True})

        def _answer(self, status: int, value: dict[str, Any]) -> None:
            payload = json.dumps(value).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(payload)))
            self.end_headers()
            self.wfile.write(payload)

        def log_message(self, *_: Any) -> None: ...

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    print(f"http://127.0.0.1:{http.server_port} {server.listener.getsockname()[1]}", flush=True)
    http.serve_forever()


if __name__ == "__main__":
    main()
