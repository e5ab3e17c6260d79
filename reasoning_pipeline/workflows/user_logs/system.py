"""The published system: a base model by reference, adapters, centroids, thresholds, and the decision for each cluster.

A query is embedded and routed by itself. Beyond `unseen_distance` of every centroid the base answers. The primary
path is one generation by the cluster's expert; the reflective path three: a draft by the base, advice by the
cluster's critic, and the base's revision of its own draft.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from pydantic import ConfigDict, Field

from reasoning_pipeline.errors import DataError, RegistryError
from reasoning_pipeline.records import Decoding
from reasoning_pipeline.registry.resolve import resolve_model
from reasoning_pipeline.run.speaking import Speaker
from reasoning_pipeline.workflows.user_logs import prompts
from reasoning_pipeline.workflows.user_logs.choice import Path as Way
from reasoning_pipeline.workflows.user_logs.clusters import Route, Router
from reasoning_pipeline.workflows.user_logs.online import Role, adapter_place
from reasoning_pipeline.workflows.user_logs.retrieval import BM25, rules_of
from reasoning_pipeline.workflows.user_logs.roles import Embedder, embedder
from reasoning_pipeline.workflows.user_logs.rules import MAX_RULES, RuledLog, load_rules
from reasoning_pipeline.workflows.user_logs.settings import Embedding, Writing

SYSTEM_FILE, MEMORY_FOLDER = "system.json", "memory"
Mode = Literal["uno", "uno_single", "base", "critics_everywhere", "experts_everywhere", "bm25", "embedding"]
NEAREST = 3
"""Logs whose rules the retrieval baselines take."""


class Thresholds(Writing):
    """What a system was decided with, and how it writes."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    mode: Mode = "uno"
    """`uno`, or what another arm of the paper would do with the same pieces."""
    unseen_distance: float = Field(1.2, gt=0)
    """Beyond it the base answers. Normalised queries are at most 2 apart from one another."""


@dataclass(frozen=True, kw_only=True)
class Answer:
    """Example: Answer(text="Rain falls.", path="primary", cluster=0, distance=0.41, generations=1,
    adapter="expert-0")."""

    text: str
    path: str
    """primary, reflective or base; or retrieval, of the baselines."""
    cluster: int | None
    distance: float
    generations: int
    adapter: str | None = None
    advice: tuple[str, ...] = ()

    def metadata(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name != "text"}


@dataclass
class System:
    """A published system, read. `answer` needs a speaker; routing does not."""

    folder: Path
    values: dict[str, Any]
    thresholds: Thresholds
    router: Router
    base: Path
    embedder_folder: Path | None
    paths: dict[int, Way] = field(default_factory=dict)

    @classmethod
    def load(cls, folder: Path, *, base: Path | None = None) -> System:
        """Raises RegistryError where the folder is no system, or its base or embedder is not beside it."""
        file = folder / SYSTEM_FILE
        if not file.is_file():
            raise RegistryError(f"{folder}: no {SYSTEM_FILE}", remedy="name what a `choose_modules` step published")
        values = json.loads(file.read_text(encoding="utf-8"))
        thresholds = Thresholds.model_validate(values["thresholds"])
        named = values["embedder"]
        return cls(
            folder=folder,
            values=values,
            thresholds=thresholds,
            router=Router.load(folder, unseen_distance=thresholds.unseen_distance),
            base=base or model_beside(folder, values["base"]),
            embedder_folder=None if named is None else model_beside(folder, named),
            paths={int(cluster): entry["path"] for cluster, entry in values["decisions"].items()},
        )

    @cached_property
    def embed(self) -> Embedder:
        config = Embedding.model_validate(self.values["embedding"])
        return embedder(self.embedder_folder, config, device=self.device, dtype=self.dtype)

    device: str = "cpu"
    dtype: str = "float32"

    def adapter(self, role: Role, cluster: int | None) -> Path | None:
        """None where the cluster has none."""
        path = adapter_place(self.folder, role, cluster)
        return path if path.is_dir() else None

    def route(self, queries: Sequence[str]) -> list[Route]:
        """By the query alone."""
        return self.router.route(self.embed(queries))

    def path(self, route: Route) -> Way:
        """What answers a query that stands there: what the mode asks for, as far as there is an adapter for it."""
        mode, cluster = self.thresholds.mode, route.cluster
        if cluster is None or mode in ("base", "bm25", "embedding"):
            return "base"
        asked: Way = self.paths.get(cluster, "base")
        if mode in ("critics_everywhere", "experts_everywhere"):
            asked = "reflective" if mode == "critics_everywhere" else "primary"
        if asked == "primary":
            return "primary" if self.adapter("expert", cluster) else "base"
        if asked == "reflective" and mode != "uno_single":
            return "reflective" if self.adapter("critic", cluster) else "base"
        return "base"

    @property
    def judge_reads(self) -> int:
        """Tokens at most of a question to whoever scores answers: it holds query and answer."""
        return 2 * self.thresholds.max_prompt_tokens

    def decoding(self, seed: int) -> Decoding:
        """How it was decided to write."""
        return self.thresholds.decoding(seed)

    @property
    def language(self) -> str:
        """Of the prompts, for a query that does not say: what most logs were in."""
        return str(self.values.get("language", "en"))

    def answer(
        self, queries: Sequence[str], languages: Sequence[str], speaker: Speaker, decoding: Decoding
    ) -> list[Answer]:
        """One answer to each query."""
        routes = self.route(queries)
        ways = [self.path(route) for route in routes]
        found: list[Answer | None] = [None] * len(queries)
        for way in dict.fromkeys(ways):
            at = [number for number, other in enumerate(ways) if other == way]
            answered = _Asked(self, speaker, decoding, way)(
                [queries[n] for n in at], [languages[n] for n in at], [routes[n] for n in at]
            )
            for number, one in zip(at, answered, strict=True):
                found[number] = one
        return [one for one in found if one is not None]

    @cached_property
    def memory(self) -> list[RuledLog]:
        """Logs with rules, of the baselines that look them up."""
        if not (self.folder / MEMORY_FOLDER).is_dir():
            raise DataError(f"{self.folder}: keeps no logs", remedy="publish it with mode bm25 or embedding")
        return load_rules(self.folder / MEMORY_FOLDER)

    def remembered(self, queries: Sequence[str]) -> list[list[str]]:
        """Rules of the nearest logs, by the mode's likeness."""
        texts, rules = [one.log.question for one in self.memory], [one.rules for one in self.memory]
        if self.thresholds.mode == "bm25":
            index = BM25(texts)
            scores = [index.scores(query) for query in queries]
        else:
            scores = list(self.embed(queries) @ self.embed(texts).T)
        return [rules_of((-row).argsort(kind="stable")[:NEAREST].tolist(), rules, MAX_RULES) for row in scores]


@dataclass(frozen=True)
class _Asked:
    """One path, taken by several queries at once."""

    system: System
    speaker: Speaker
    decoding: Decoding
    way: Way

    def __call__(self, queries: list[str], languages: list[str], routes: list[Route]) -> list[Answer]:
        if self.way == "primary":
            texts = self._by_cluster(queries, routes, "expert")
            return [
                self._answer(text, route, 1, adapter=f"expert-{route.cluster}")
                for text, route in zip(texts, routes, strict=True)
            ]
        drafts = self.speaker.answer(queries, self.decoding)
        if self.way == "reflective":
            asked = [prompts.critic(*parts) for parts in zip(queries, drafts, languages, strict=True)]
            replies = self._by_cluster(asked, routes, "critic")
            advice = [prompts.read_advice(*parts) for parts in zip(replies, languages, strict=True)]
        elif self.system.thresholds.mode in ("bm25", "embedding"):
            advice = [tuple(rules) for rules in self.system.remembered(queries)]
        else:
            return [self._answer(draft, route, 1) for draft, route in zip(drafts, routes, strict=True)]
        revised = self.speaker.answer(
            [prompts.revise(*parts) for parts in zip(queries, drafts, advice, languages, strict=True)], self.decoding
        )
        name, generations = ("critic", 3) if self.way == "reflective" else (None, 2)
        return [
            self._answer(
                # An empty revision would be worse than the draft that is there.
                text or draft,
                route,
                generations,
                adapter=f"{name}-{route.cluster}" if name else None,
                advice=said,
            )
            for text, draft, route, said in zip(revised, drafts, routes, advice, strict=True)
        ]

    def _answer(self, text: str, route: Route, generations: int, **more: Any) -> Answer:
        way = "retrieval" if generations == 2 else self.way
        return Answer(
            text=text, path=way, cluster=route.cluster, distance=route.distance, generations=generations, **more
        )

    def _by_cluster(self, asked: list[str], routes: list[Route], role: Role) -> list[str]:
        """Each by its cluster's adapter, all of one adapter together."""
        found = [""] * len(asked)
        for cluster in dict.fromkeys(route.cluster for route in routes):
            at = [number for number, route in enumerate(routes) if route.cluster == cluster]
            texts = self.speaker.answer(
                [asked[n] for n in at], self.decoding, adapter=self.system.adapter(role, cluster)
            )
            for number, text in zip(at, texts, strict=True):
                found[number] = text
        return found


def model_beside(folder: Path, name: str) -> Path:
    """A model that a system names: beside it in the registry, or as a person would name it."""
    beside = folder.parent / name
    return beside if beside.is_dir() else resolve_model(name, folder.parent.parent).folder
