"""An HTTP endpoint that a workflow opens for what it publishes: behind a key, with bounded bodies, errors as OpenAI's.

Starlette and uvicorn are imported when one is opened. What is asked is people's words: no request is logged.
"""

from __future__ import annotations

import hmac
import json
import socket
from collections.abc import Callable, Mapping
from typing import Any

from pydantic import ValidationError
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from reasoning_pipeline.errors import PipelineError

MOST_BYTES = 1 << 20

Answer = Callable[[Any], Any]
"""A request's JSON value (None for GET) -> JSON, or a response. ValueError is the asker's fault, Refused too."""


class Refused(Exception):
    """What is said instead of an answer."""

    def __init__(self, status: int, message: str, *, param: str | None = None, code: str | None = None) -> None:
        super().__init__(message)
        self.status, self.message, self.param, self.code = status, message, param, code

    @classmethod
    def unfit(cls, error: ValidationError) -> Refused:
        """Of a request that does not fit: the first place, and what is wrong there."""
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"])) or "request"
        return cls(400, f"{place}: {first['msg'][:200]}", param=place)

    def response(self) -> JSONResponse:
        kind = "server_error" if self.status >= 500 else "invalid_request_error"
        error = {"message": self.message, "type": kind, "param": self.param, "code": self.code}
        return JSONResponse({"error": error}, self.status)


def application(
    routes: Mapping[str, Answer],
    key: str,
    *,
    health: Mapping[str, Any] | None = None,
    most_bytes: int = MOST_BYTES,
    said: Callable[[Refused], Response] = Refused.response,
) -> Starlette:
    """`GET /path` and `POST /path` -> what answers; /health is open to anybody. Answers are made in threads.

    Args:
        most_bytes: Of a request.
        said: How a refusal is told.
    """

    def guarded(answer: Answer) -> Callable[[Request], Any]:
        async def answered(request: Request) -> Response:
            try:
                if not hmac.compare_digest(request.headers.get("authorization", "").encode(), f"Bearer {key}".encode()):
                    raise Refused(401, "the Authorization header has no valid key", code="invalid_api_key")
                found = await run_in_threadpool(answer, await _value(request, most_bytes))
            except Refused as refused:
                return said(refused)
            except PipelineError as error:
                return said(Refused(400 if error.exit_status == 2 else 503, error.message[:500]))
            except ValidationError as error:
                return said(Refused.unfit(error))
            except ValueError as error:
                return said(Refused(400, str(error)[:500]))
            except Exception as error:  # told by its kind alone: its text may hold what was asked
                return said(Refused(500, f"an answer could not be made ({type(error).__name__})"))
            return found if isinstance(found, Response) else JSONResponse(found)

        return answered

    async def healthy(request: Request) -> JSONResponse:
        return JSONResponse(dict(health or {}))

    async def missing(request: Request, error: Any) -> Response:
        status = error.status_code
        what = f"no route {request.method} {request.url.path[:100]}; there are {', '.join(routes)}"
        return said(Refused(status, what, code="not_found" if status == 404 else None))

    made = [Route("/health", healthy)]
    for name, answer in routes.items():
        method, path = name.split(maxsplit=1)
        made.append(Route(path, guarded(answer), methods=[method]))
    return Starlette(routes=made, exception_handlers={404: missing, 405: missing})


async def _value(request: Request, most_bytes: int) -> Any:
    if request.method == "GET":
        return None
    body = b""
    async for part in request.stream():
        body += part
        if len(body) > most_bytes:
            raise Refused(413, f"the request is larger than {most_bytes >> 10} KiB")
    try:
        return json.loads(body)
    except RecursionError:
        raise Refused(400, "the request is nested too deeply") from None
    except ValueError as error:
        raise Refused(400, f"the request is no JSON: {str(error)[:200]}") from None


def listen(app: Starlette, *, host: str, port: int | None, ready: Callable[[str], None]) -> None:
    """Answer until interrupted. The port is taken before `ready` is told the URL, so that it is ours."""
    import uvicorn

    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        taken.bind((host, port or 0))
        ready(f"http://{f'[{host}]' if ':' in host else host}:{taken.getsockname()[1]}")
        uvicorn.Server(uvicorn.Config(app, log_level="warning", access_log=False)).run(sockets=[taken])
