"""`POST /recommend`: a history in, ranked items of each domain with scores out, from a published bundle.

    curl $URL/recommend -H "Authorization: Bearer $KEY" -d '{"history": ["B000BIZT3E"], "domain": "B", "count": 10}'

Answers hold the profile of the history, too: its groups in the words that their titles share. Profiles shape training;
no score is computed from them, and the answer says so.
"""

from __future__ import annotations

from typing import Any

from pydantic import Field
from starlette.applications import Starlette
from starlette.responses import JSONResponse

from reasoning_pipeline.run import endpoint
from reasoning_pipeline.workflows.recommendation import profiling
from reasoning_pipeline.workflows.recommendation.bundle import Bundle
from reasoning_pipeline.workflows.recommendation.settings import Strict

MOST_BYTES = 256 << 10
MOST_GROUPS = 5


class Asked(Strict):
    history: list[str] = Field(min_length=1, max_length=1_000)
    """Ids of the catalogue, oldest first."""
    domain: str | None = None
    """Ranked are this domain's items; each domain's where it is not given."""
    count: int = Field(10, ge=1, le=100)


class Recommender:
    """One bundle, held in memory."""

    def __init__(self, bundle: Bundle, name: str) -> None:
        self.bundle, self.name, self.scorer = bundle, name, bundle.scorer()
        self.index = {item.id: number for number, item in enumerate(bundle.histories.items)}

    def answer(self, value: Any) -> dict[str, Any]:
        """Raises ValueError for what is no request, and, naming it, for an id or a domain that the catalogue does not
        have."""
        asked, histories = Asked.model_validate(value), self.bundle.histories
        if (unknown := next((name for name in asked.history if name not in self.index), None)) is not None:
            said = f"history: the item {unknown[:100]!r} is not in the catalogue of {len(self.index):,} items"
            raise ValueError(said)
        if asked.domain is not None and asked.domain not in histories.domains:
            raise ValueError(f"domain: {asked.domain[:100]!r} is none of {', '.join(histories.domains)}")
        history = [self.index[name] for name in asked.history]
        domains = [number for number, name in enumerate(histories.domains) if asked.domain in (None, name)]
        ranked = {}
        for domain, best in zip(domains, self.bundle.top(history, domains, asked.count, self.scorer), strict=True):
            items = [(histories.items[item], round(score, 6)) for item, score in best]
            ranked[histories.domains[domain]] = [
                {"id": item.id, "title": item.title, "score": score} for item, score in items
            ]
        return {"model": self.name, "ranked": ranked, "profile": {"text": self.profile(history), "in_score": False}}

    def profile(self, history: list[int]) -> str:
        """The stand-in's words, whatever the training's summariser was."""
        groups = profiling.groups_of(
            history, self.bundle.histories.items, self.bundle.text_NX, self.bundle.centroids_KX, MOST_GROUPS
        )
        return profiling.merged(groups, [profiling.summed_up(group) for group in groups])


def application(recommender: Recommender, key: str) -> Starlette:
    """The routes: /health for anybody, /recommend for whoever has the key."""
    health = {"model": recommender.name, "items": len(recommender.index)}
    routes = {"POST /recommend": recommender.answer}
    return endpoint.application(routes, key, health=health, most_bytes=MOST_BYTES, said=_said)


def _said(refused: endpoint.Refused) -> JSONResponse:
    return JSONResponse({"error": refused.message}, 422 if refused.status == 400 else refused.status)
