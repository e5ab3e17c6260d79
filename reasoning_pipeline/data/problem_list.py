"""Which problems a step read, as its artifact keeps them: ids with short digests, to say later what was changed."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from reasoning_pipeline.base.jsonl import lines, read_rows
from reasoning_pipeline.data.sources import stable_hash
from reasoning_pipeline.records import Problem

PROBLEM_LIST = "problem_list.jsonl"
DIGEST_CHARACTERS = 12
MOST_BYTES = 256 << 20


@dataclass(frozen=True)
class ProblemList:
    """Id -> (digest of the question, digest of the answer)."""

    problems: dict[str, tuple[str, str]]

    @classmethod
    def of(cls, problems: Iterable[Problem]) -> ProblemList:
        return cls({p.id: (_short(p.question), _short(p.answer)) for p in problems})

    def save(self, folder: Path) -> None:
        rows = ({"id": name, "question": q, "answer": a} for name, (q, a) in self.problems.items())
        (folder / PROBLEM_LIST).write_text(lines(rows), encoding="utf-8")

    def since(self, before: ProblemList) -> dict[str, list[str]]:
        """What happened -> ids; empty where nothing did."""
        both = self.problems.keys() & before.problems.keys()
        found = {
            "added": [name for name in self.problems if name not in before.problems],
            "removed": [name for name in before.problems if name not in self.problems],
            "with another question": [n for n in sorted(both) if self.problems[n][0] != before.problems[n][0]],
            "with another answer": [n for n in sorted(both) if self.problems[n][1] != before.problems[n][1]],
        }
        return {what: ids for what, ids in found.items() if ids}


def read_problem_list(folder: Path) -> ProblemList | None:
    """The list in an artifact's folder; None where there is none to be read."""
    path = folder / PROBLEM_LIST
    try:
        if path.stat().st_size > MOST_BYTES:
            return None
        return ProblemList({row["id"]: (row["question"], row["answer"]) for row in read_rows(path)})
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _short(text: str) -> str:
    return stable_hash(text)[:DIGEST_CHARACTERS]
