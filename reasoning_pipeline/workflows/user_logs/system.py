"""The published system: a base model by reference, adapters, centroids, thresholds, and the decision for each cluster.

A query is embedded and routed by itself. Beyond `unseen_distance` of every centroid the base answers. The primary
path is one generation by the cluster's expert; the reflective path three: a draft by the base, advice by the
cluster's critic, and the base's revision of its own draft.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any, Literal, TypeVar

from pydantic import ConfigDict, Field

from reasoning_pipeline.errors import DataError, RegistryError
from reasoning_pipeline.models.adapters import check_adapter
from reasoning_pipeline.records import Decoding
from reasoning_pipeline.registry.resolve import resolve_model
from reasoning_pipeline.run.speaking import Speaker
from reasoning_pipeline.statistics.texts import BM25
from reasoning_pipeline.workflows.user_logs import prompts
from reasoning_pipeline.workflows.user_logs.choice import Way
from reasoning_pipeline.workflows.user_logs.clusters import Route, Router
from reasoning_pipeline.workflows.user_logs.online import Role, adapter_place
from reasoning_pipeline.workflows.user_logs.roles import Embedder, embedder
from reasoning_pipeline.workflows.user_logs.rules import MAX_RULES, load_rules
from reasoning_pipeline.workflows.user_logs.settings import Embedding, Writing

SYSTEM_FILE, MEMORY_FOLDER = "system.json", "memory"
Mode = Literal["uno", "uno_single", "base", "critics_everywhere", "experts_everywhere", "bm25", "embedding"]
Key = TypeVar("Key")
Item = TypeVar("Item")
Found = TypeVar("Found")
Along = Literal["primary", "reflective", "retrieval", "base"]
GENERATIONS: dict[Along, int] = {"primary": 1, "reflective": 3, "retrieval": 2, "base": 1}
ADAPTERS: dict[Along, Role] = {"primary": "expert", "reflective": "critic"}
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
    path: Along
    """`retrieval` is that of the baselines which look rules up."""
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
    paths: dict[int, Way]
    load_embedder: Callable[[], Embedder]

    @classmethod
    def load(cls, folder: Path, *, base: Path | None = None, device: str = "cpu", dtype: str = "float32") -> System:
        """Raises RegistryError where the folder is no system, or its base or embedder is not beside it."""
        file = folder / SYSTEM_FILE
        if not file.is_file():
            raise RegistryError(f"{folder}: no {SYSTEM_FILE}", remedy="name what a `choose_modules` step published")
        values = json.loads(file.read_text(encoding="utf-8"))
        thresholds = Thresholds.model_validate(values["thresholds"])
        named = None if values["embedder"] is None else model_beside(folder, values["embedder"])
        embedding = Embedding.model_validate(values["embedding"])
        return cls(
            folder=folder,
            values=values,
            thresholds=thresholds,
            router=Router.load(folder, unseen_distance=thresholds.unseen_distance),
            base=base or model_beside(folder, values["base"]),
            paths={int(cluster): entry["path"] for cluster, entry in values["decisions"].items()},
            load_embedder=partial(embedder, named, embedding, device=device, dtype=dtype),
        )

    @cached_property
    def embed(self) -> Embedder:
        return self.load_embedder()

    def adapter(self, role: Role, cluster: int | None) -> Path | None:
        """None where the cluster has none."""
        path = adapter_place(self.folder, role, cluster)
        return path if path.is_dir() else None

    def check(self) -> None:
        """Every adapter belongs to this base, and the embedder to these centroids, before anybody asks."""
        for adapter in sorted(self.folder.glob("adapters/*")):
            check_adapter(adapter, self.base)
        self.route(["hello"])

    def route(self, queries: Sequence[str]) -> list[Route]:
        """By the query alone."""
        return self.router.route(self.embed(queries))

    def path(self, route: Route) -> Along:
        """What answers a query that stands there: what the mode asks for, as far as there is an adapter for it."""
        mode, cluster = self.thresholds.mode, route.cluster
        if mode in ("bm25", "embedding"):
            return "retrieval"
        if cluster is None or mode == "base":
            return "base"
        everywhere: dict[Mode, Along] = {"critics_everywhere": "reflective", "experts_everywhere": "primary"}
        asked = everywhere.get(mode) or self.paths.get(cluster, "base")
        if asked == "base" or (mode == "uno_single" and asked == "reflective"):
            return "base"
        return asked if self.adapter(ADAPTERS[asked], cluster) else "base"

    @property
    def judge_reads(self) -> int:
        """Tokens at most of a question to whoever scores answers: it holds query, answer, and what is to be done."""
        return 2 * self.thresholds.max_prompt_tokens + 1024

    @property
    def language(self) -> str:
        """Of the prompts, for a query that does not say: what most logs were in."""
        return str(self.values.get("language", "en"))

    def answer(
        self, queries: Sequence[str], languages: Sequence[str], speaker: Speaker, decoding: Decoding
    ) -> list[Answer]:
        """One answer to each query."""
        asked = [_Asked(*parts) for parts in zip(queries, languages, self.route(queries), strict=True)]
        ways = [self.path(one.route) for one in asked]
        return _in_groups(ways, asked, lambda way, own: self._along(way, own, speaker, decoding))

    def _along(self, way: Along, asked: list[_Asked], speaker: Speaker, decoding: Decoding) -> list[Answer]:
        """Queries of one path, all of one adapter together."""
        queries, clusters = [one.query for one in asked], [one.route.cluster for one in asked]

        def adapted(role: Role, texts: list[str]) -> list[str]:
            def by(cluster: int | None, own: list[str]) -> list[str]:
                return speaker.answer(own, decoding, adapter=self.adapter(role, cluster))

            return _in_groups(clusters, texts, by)

        advice: list[tuple[str, ...]] = [()] * len(asked)
        texts = adapted("expert", queries) if way == "primary" else speaker.answer(queries, decoding)
        if way == "reflective":
            shown = [prompts.critic(one.query, draft, one.language) for one, draft in zip(asked, texts, strict=True)]
            replies = zip(adapted("critic", shown), asked, strict=True)
            advice = [prompts.read_advice(reply, one.language) for reply, one in replies]
        elif way == "retrieval":
            advice = self.remembered(queries)
        if GENERATIONS[way] > 1:
            drafts = zip(asked, texts, advice, strict=True)
            revised = [prompts.revise(one.query, draft, said, one.language) for one, draft, said in drafts]
            # An empty revision would be worse than the draft that is there.
            texts = [new or old for new, old in zip(speaker.answer(revised, decoding), texts, strict=True)]
        return [
            Answer(
                text=text,
                path=way,
                generations=GENERATIONS[way],
                adapter=f"{ADAPTERS[way]}-{one.route.cluster}" if way in ADAPTERS else None,
                advice=said,
                **vars(one.route),
            )
            for text, one, said in zip(texts, asked, advice, strict=True)
        ]

    def remembered(self, queries: Sequence[str]) -> list[tuple[str, ...]]:
        """Rules of the nearest logs, by the mode's likeness: of the baselines that keep logs and look them up."""
        if not (self.folder / MEMORY_FOLDER).is_dir():
            raise DataError(f"{self.folder}: keeps no logs", remedy="publish it with mode bm25 or embedding")
        memory = load_rules(self.folder / MEMORY_FOLDER)
        texts, rules = [one.log.question for one in memory], [one.rules for one in memory]
        if self.thresholds.mode == "bm25":
            index = BM25(texts)
            scores = [index.scores(query) for query in queries]
        else:
            scores = list(self.embed(queries) @ self.embed(texts).T)
        return [rules_of((-row).argsort(kind="stable")[:NEAREST].tolist(), rules, MAX_RULES) for row in scores]


@dataclass(frozen=True)
class _Asked:
    query: str
    language: str
    route: Route


def _in_groups(
    keys: Sequence[Key], items: Sequence[Item], ask: Callable[[Key, list[Item]], Sequence[Found]]
) -> list[Found]:
    """What `ask` makes of all items of each key at once, in the items' order."""
    found: dict[int, Found] = {}
    for key in dict.fromkeys(keys):
        at = [number for number, other in enumerate(keys) if other == key]
        found.update(zip(at, ask(key, [items[number] for number in at]), strict=True))
    return [found[number] for number in range(len(items))]


def rules_of(nearest: Sequence[int], rules: Sequence[Sequence[str]], most: int) -> tuple[str, ...]:
    """The rules of these logs, the nearest first, each once."""
    return tuple(dict.fromkeys(rule for at in nearest for rule in rules[at]))[:most]


def model_beside(folder: Path, name: str) -> Path:
    """A model that a system names: beside it in the registry, or as a person would name it."""
    beside = folder.parent / name
    return beside if beside.is_dir() else resolve_model(name, folder.parent.parent).folder
