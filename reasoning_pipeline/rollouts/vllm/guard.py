"""Who may ask one of our servers, and how much at once: two pieces of ASGI middleware inside the server's process."""

from __future__ import annotations

import ipaddress
import secrets
from typing import Any

from fastapi.responses import JSONResponse

BODY_LIMIT_BYTES = 32 << 20
"""Largest request. The client cuts a large batch into pieces of a fraction of it (generation.py)."""


class KeyForEveryRoute:
    """401 without the key, on every path but /health, and /status for whoever asks from this machine.

    /status shows figures alone (load, memory, the model's name and version; no path, no text, no key), so that anyone
    who may log in here can see what runs, as `ps` would tell. From beyond loopback it asks for the key.
    """

    def __init__(self, app: Any, key: str | None) -> None:
        self.app, self.key = app, key

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if not self.key or scope["type"] not in ("http", "websocket") or _open(scope):
            await self.app(scope, receive, send)
            return
        given = dict(scope["headers"]).get(b"authorization", b"")
        if secrets.compare_digest(given, f"Bearer {self.key}".encode()):
            await self.app(scope, receive, send)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
        else:
            await JSONResponse({"error": "the server's key is missing or wrong"}, 401)(scope, receive, send)


def _open(scope: Any) -> bool:
    if scope["type"] != "http":
        return False
    client = scope.get("client")
    return scope["path"] == "/health" or (
        scope["path"] == "/status" and client is not None and ipaddress.ip_address(client[0]).is_loopback
    )


class BodyLimit:
    """413 for a body of more than BODY_LIMIT_BYTES, however it is announced."""

    def __init__(self, app: Any) -> None:
        self.app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        announced = dict(scope["headers"]).get(b"content-length", b"")
        if announced.isdigit() and int(announced) > BODY_LIMIT_BYTES:
            await _refuse(scope, receive, send)
            return
        received, answered = 0, False

        async def counted() -> Any:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > BODY_LIMIT_BYTES:
                raise _TooLarge
            return message

        async def noted(message: Any) -> None:
            nonlocal answered
            answered = True
            await send(message)

        try:
            await self.app(scope, counted, noted)
        except _TooLarge:
            if not answered:
                await _refuse(scope, receive, send)


class _TooLarge(Exception):
    """More bytes than allowed have arrived."""


async def _refuse(scope: Any, receive: Any, send: Any) -> None:
    message = f"a request may have {BODY_LIMIT_BYTES >> 20} MiB; send several"
    await JSONResponse({"error": message}, 413, headers={"connection": "close"})(scope, receive, send)
