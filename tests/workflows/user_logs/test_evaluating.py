"""Answers scored by a model that saw no rule: what is asked of it, and what it could not score."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from reasoning_pipeline.errors import DataError
from reasoning_pipeline.recipe.workflows import stage_module
from reasoning_pipeline.workflows.user_logs import logs
from reasoning_pipeline.workflows.user_logs.evaluation import evaluate_queries
from reasoning_pipeline.workflows.user_logs.logs import HubLogs
from reasoning_pipeline.workflows.user_logs.scoring import hub_queries
from tests.workflows.user_logs.test_system import ADVISED, FAR, NEAR, opened, published  # noqa: F401

HUB = {"id": "THUIR/MemoryBench", "subsets": ("A", "B"), "split": "test"}


def test_a_judges_scores_become_shares_and_absence_is_not_zero(opened, tmp_path: Path):  # noqa: F811
    asked: list[Any] = []

    def referee(answers):
        asked.extend(answers)
        return [10.0, 1.0, None]

    queries = [
        {"id": f"A/{n}", "query": query, "language": "small", "kind": "A"}
        for n, query in enumerate((NEAR, ADVISED, FAR))
    ]
    found = evaluate_queries(*opened, queries, 0, referee)
    assert [(query, rules) for query, rules, _, _ in asked] == [(NEAR, ()), (ADVISED, ()), (FAR, ())]
    suite = found.figures["suites"]["user_logs"]
    assert (suite["accuracy"], suite["problems"], found.figures["unscored"]) == (0.5, 2, 1)
    found.save(tmp_path)
    assert (tmp_path / "user_logs/problems.csv").read_text() == "problem,mean\nA/0,1.0\nA/1,0.0\n"
    assert [row["status"] for row in found.rows] == ["correct", "wrong", "unscored"]
    with pytest.raises(DataError, match="of 3 answers none could be scored"):
        evaluate_queries(*opened, queries, 0, lambda answers: [None] * 3)


def test_queries_of_the_hub_are_read_without_anything_else(monkeypatch: pytest.MonkeyPatch):
    def rows(name: str, subset: str, split: str, revision: str | None):
        for number in range(3):
            turns = [{"role": "system", "content": "s"}, {"role": "user", "content": "案"}]
            asked = {"input_prompt": f"q{number}"} if subset == "A" else {"input_chat_messages": str(turns)}
            row = {"dataset_name": subset, "test_idx": number, "lang": "zh" if subset == "B" else "en", "info": "{}"}
            yield f"{name}[{number}]", {**row, **asked}

    monkeypatch.setattr(logs, "hub_rows", rows)
    found = hub_queries(HubLogs(**HUB), 2)
    assert [row["id"] for row in found] == ["A/0", "A/1", "B/0", "B/1"]
    assert (found[0]["query"], found[0]["language"]) == ("q0", "en")
    assert (found[2]["query"], found[2]["language"]) == ("system: s\n\n案", "zh")
    monkeypatch.setattr(logs, "hub_rows", lambda *_: iter([("x", {"dataset_name": "A", "input_prompt": " "})]))
    with pytest.raises(DataError, match=r"MemoryBench/A\[0\]: no query"):
        hub_queries(HubLogs(**HUB), 2)


def test_queries_of_the_hub_need_a_judge():
    config = stage_module("evaluate_system").Config
    with pytest.raises(ValueError, match="`hub` needs `judge`"):
        config(checkpoint="step:uno", hub=HUB)
    judged = config(checkpoint="step:uno", hub=HUB, judge="Qwen/Qwen3-14B")
    assert judged.generator == "judge" and config(checkpoint="step:uno").generator is None
