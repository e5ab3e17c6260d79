"""Which queries a system is asked, and scores of its answers by programs that know what each user wished and see no
rule of any log.

A row to be answered is {"id", "query", "language"?, "kind"?, "checks": [NAME, …]}, one of the small world's, or one as
MemoryBench has them: {"dataset_name", "test_idx", "lang", "input_prompt"} or, in place of the last,
"input_chat_messages". A check is a program over the answer's text: what it asks is in its name. Rows without checks
need a judge.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from reasoning_pipeline.data.rows import Row, jsonl_rows
from reasoning_pipeline.errors import DataError
from reasoning_pipeline.recipe.stage import File, Input
from reasoning_pipeline.workflows.user_logs import small_world
from reasoning_pipeline.workflows.user_logs.logs import HubLogs, asked_in, language_of
from reasoning_pipeline.workflows.user_logs.settings import Judging

SUITE = "user_logs"
_ENDS = re.compile(r"[.!?。！？]+(?=\s|$|[\"'”’」)])")

CHECKS: dict[str, Callable[[str], bool]] = {
    "one_sentence": lambda text: (
        bool(text.strip()) and len(_ENDS.findall(text.strip())) == 1 and "\n" not in text.strip()
    ),
    "bullets": lambda text: sum(bool(re.match(r"\s*(?:[-*•]|\d+[.)])\s+\S", line)) for line in text.split("\n")) >= 2,
    "ends_with_question": lambda text: text.strip().endswith(("?", "？")),
    "contains_example": lambda text: bool(
        re.search(r"\bfor example\b|\bfor instance\b|\be\.g\.|例如|比如", text.casefold())
    ),
}


class Scoring(BaseModel):
    """Which queries a system is asked, and who scores the answers."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    file: Annotated[str | None, File()] = None
    """JSONL of queries (docs/user_logs.md), relative to the recipe; the small world's own where neither it nor `hub` is
    given."""
    hub: HubLogs | None = Field(None, exclude_if=lambda hub: hub is None)
    """Queries of a data set of the hub, such as MemoryBench's test split; a judge then scores."""
    count: int = Field(300, ge=1)
    """Queries at most; of each subset of `hub`."""
    judge: Annotated[str | None, Input("checkpoint")] = None
    """A model that scores what programs cannot, and is shown no rule; best another than the judge of the pairs."""
    judging: Judging = Field(Judging(), exclude_if=lambda judging: judging == Judging())
    """How it is asked."""

    def queries(self, folder: Path = Path()) -> list[dict[str, Any]]:
        """Raises DataError for rows that cannot be asked, or that nobody could score."""
        if self.hub is not None:
            found: dict[str, list[dict[str, Any]]] = {}
            for row in read_queries(self.hub.rows(), judged=True):
                found.setdefault(row["kind"], []).append(row)
            return [row for own in found.values() for row in own[: self.count]]
        if self.file is None:
            return small_world.test_queries(self.count)
        rows = jsonl_rows(folder / self.file, one="query", like='{"id": …, "query": …, "checks": […]}')
        queries = read_queries(rows, judged=self.judge is not None)[: self.count]
        if not queries:
            raise DataError(f"{folder / self.file}: no query", remedy="write one query a line")
        return queries


def read_queries(rows: Iterable[Row], *, judged: bool) -> list[dict[str, Any]]:
    """Raises DataError for a row without id or query, one whose id stands twice, and, where no model judges, one with
    no check, or one that there is not."""
    found: dict[str, dict[str, Any]] = {}
    for place, row in rows:
        texts = (row.get("query"), row.get("input_prompt"), asked_in(row.get("input_chat_messages")))
        query = next((text for text in texts if isinstance(text, str) and text.strip()), None)
        kind = row.get("kind", row.get("dataset_name"))
        name = row.get("id", f"{kind}/{row['test_idx']}" if "test_idx" in row else None)
        if query is None:
            raise DataError(f"{place}: no query", remedy="a row has query, input_prompt, or input_chat_messages")
        if not isinstance(name, str) or name in found:
            said = "no id" if not isinstance(name, str) else f"id {name!r} stands twice"
            raise DataError(f"{place}: {said}", remedy="a text of its own each, or dataset_name and test_idx")
        checks = row.get("checks", [])
        unknown = [one for one in (checks if isinstance(checks, list) else [checks]) if one not in list(CHECKS)]
        if not judged and (unknown or not checks):
            raise DataError(
                f"{place}: checks: {f'unknown {unknown[0]!r}' if unknown else 'none'}",
                remedy=f"some of: {', '.join(CHECKS)}; or a recipe whose `score_systems` names a `judge`",
            )
        language = {"language": language_of(row)} if "language" in row or "lang" in row else {}
        found[name] = {**row, "id": name, "query": query, "kind": None if kind is None else str(kind), **language}
    return list(found.values())


def score(row: dict[str, Any], answer: str) -> float:
    """Share of the wishes that the answer meets, 0 to 1."""
    if "wish" in row:
        return small_world.score(row, answer)
    return sum(CHECKS[name](answer) for name in row["checks"]) / len(row["checks"])
