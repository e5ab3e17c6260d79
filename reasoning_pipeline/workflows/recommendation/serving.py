"""`POST /recommend`: a history in, ranked items of each domain with scores out, from a published bundle.

    curl $URL/recommend -H "Authorization: Bearer $KEY" -d '{"history": ["B000BIZT3E"], "domain": "B", "count": 10}'

Answers hold the profile of the history, too: its groups in the words that their titles share. Profiles shape training;
no score is computed from them, and the answer says so.
"""

from __future__ import annotations

import hmac
import json
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from reasoning_pipeline.run.endpoint import listen
from reasoning_pipeline.workflows.recommendation import profiling
from reasoning_pipeline.workflows.recommendation.bundle import Bundle
from reasoning_pipeline.workflows.recommendation.scoring import scorer_of

MOST_BYTES = 256 << 10
MOST_GROUPS = 5


class Asked(BaseModel):
    model_config = ConfigDict(extra="forbid")

    history: list[str] = Field(min_length=1, max_length=1_000)
    """Ids of the catalogue, oldest first."""
    domain: str | None = None
    """Ranked are this domain's items; each domain's where it is not given."""
    count: int = Field(10, ge=1, le=100)


class Recommender:
    """One bundle, held in memory."""

    def __init__(self, bundle: Bundle, name: str) -> None:
        self.bundle, self.name = bundle, name
        self.scorer = scorer_of(bundle)
        self.index = {item.id: number for number, item in enumerate(bundle.histories.items)}

    def answer(self, asked: Asked) -> dict[str, Any]:
        """Raises ValueError, naming it, for an id or a domain that the catalogue does not have."""
        histories = self.bundle.histories
        if (unknown := next((name for name in asked.history if name not in self.index), None)) is not None:
            raise ValueError(
                f"history: the item {unknown[:100]!r} is not in the catalogue of {len(self.index):,} items"
            )
        if asked.domain is not None and asked.domain not in histories.domains:
            raise ValueError(f"domain: {asked.domain[:100]!r} is none of {', '.join(histories.domains)}")
        history = [self.index[name] for name in asked.history]
        wanted = [asked.domain] if asked.domain is not None else list(histories.domains)
        domains = [histories.domains.index(domain) for domain in wanted]
        best = self.bundle.top(history, domains, asked.count, self.scorer)
        ranked = {
            domain: [
                {"id": histories.items[item].id, "title": histories.items[item].title, "score": round(score, 6)}
                for item, score in items
            ]
            for domain, items in zip(wanted, best, strict=True)
        }
        return {"model": self.name, "ranked": ranked, "profile": {"text": self.profile(history), "in_score": False}}

    def profile(self, history: list[int]) -> str:
        """The stand-in's words, whatever the training's summariser was."""
        groups = profiling.groups_of(
            history, self.bundle.histories.items, self.bundle.text_NX, self.bundle.centroids_KX, MOST_GROUPS
        )
        return profiling.merged(groups, [profiling.summed_up(group) for group in groups])


def application(recommender: Recommender, key: str) -> Starlette:
    """The routes: /health for anybody, /recommend for whoever has the key."""

    async def recommend(request: Request) -> JSONResponse:
        given = request.headers.get("authorization", "").encode()
        if not hmac.compare_digest(given, f"Bearer {key}".encode()):
            return _refused(401, "the Authorization header has no valid key")
        body = b""
        async for part in request.stream():
            body += part
            if len(body) > MOST_BYTES:
                return _refused(413, f"the request is larger than {MOST_BYTES >> 10} KiB")
        try:
            return JSONResponse(recommender.answer(Asked.model_validate(json.loads(body))))
        except ValidationError as error:
            first = error.errors()[0]
            return _refused(422, f"{'.'.join(map(str, first['loc'])) or 'request'}: {first['msg']}")
        except RecursionError:
            return _refused(422, "request: nested too deeply")
        except ValueError as error:
            return _refused(422, str(error))

    async def health(request: Request) -> JSONResponse:
        return JSONResponse({"model": recommender.name, "items": len(recommender.index)})

    return Starlette(routes=[Route("/recommend", recommend, methods=["POST"]), Route("/health", health)])


def _refused(status: int, message: str) -> JSONResponse:
    return JSONResponse({"error": message}, status_code=status)


def serve(bundle: Bundle, name: str, *, host: str, port: int | None, key: str) -> None:
    """Until interrupted."""

    def ready(url: str) -> None:
        print(f"{name} answers at {url}/recommend; Ctrl-C stops it", flush=True)

    listen(application(Recommender(bundle, name), key), host=host, port=port, ready=ready)
