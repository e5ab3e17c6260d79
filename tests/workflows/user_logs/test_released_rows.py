"""The authors' released answers: their advice is read, their revisions asked for, their differences come out again.

REASONING_DATA names a folder with user_logs/uno_released_rows.jsonl: 393 rows of {dataset, test_idx, path, query,
draft, suggestions, revision, metrics_uno, metrics_single}.
"""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

import pytest

from reasoning_pipeline.statistics.pairs import Paired, compare
from reasoning_pipeline.workflows.user_logs import prompts
from reasoning_pipeline.workflows.user_logs.choice import collapsed
from reasoning_pipeline.workflows.user_logs.rules import MAX_RULES, numbered, parse_numbered

FILE = Path(os.environ.get("REASONING_DATA", "/nowhere")) / "user_logs" / "uno_released_rows.jsonl"
pytestmark = pytest.mark.skipif(
    not FILE.is_file(), reason="REASONING_DATA names no folder with user_logs/uno_released_rows.jsonl"
)
QUOTED = re.compile(r'"(?:[^"\\]|\\.)*"')


@pytest.fixture(scope="module")
def rows() -> list[dict[str, Any]]:
    return [json.loads(line) for line in FILE.read_text(encoding="utf-8").splitlines()]


@pytest.fixture(scope="module")
def reflective(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [row for row in rows if row["path"] == "reflective"]


def language(row: dict[str, Any]) -> str:
    return "zh" if re.search(r"[\u4e00-\u9fff]", row["query"]) else "en"


def test_only_what_went_through_a_critic_differs(rows):
    assert len(rows) == 393
    straight = [row for row in rows if row["path"] != "reflective"]
    assert len(straight) == 147 and all(row["metrics_uno"] == row["metrics_single"] for row in straight)
    assert all(row["suggestions"] is None for row in straight)


def test_every_advice_is_read_and_written_as_it_was(reflective):
    assert len(reflective) == 246
    for row in reflective:
        found = prompts.read_advice(row["suggestions"], language(row))
        lines = row["suggestions"].strip().split("\n")
        assert found == tuple(re.sub(r"^\d+\.\s*", "", line) for line in lines)[:MAX_RULES]
        assert numbered(found) == "\n".join(lines[:MAX_RULES])


def test_a_revision_is_asked_for_with_query_draft_and_advice_whole_and_quoted(reflective):
    for row in reflective:
        advice = parse_numbered(row["suggestions"])
        asked = prompts.revise(row["query"], row["draft"], advice, language(row))
        assert [json.loads(text) for text in QUOTED.findall(asked)] == [row["query"], row["draft"], *advice]
        critic = prompts.critic(row["query"], row["draft"], language(row))
        assert [json.loads(text) for text in QUOTED.findall(critic)] == [row["query"], row["draft"]]


def test_the_guard_against_collapse_spares_nearly_all_revisions(reflective):
    fallen = [row["test_idx"] for row in reflective if collapsed(row["revision"], row["draft"])]
    assert len(fallen) <= 3  # rewritten from the first word


def paired(rows: list[dict[str, Any]], dataset: str, metric: str) -> Paired:
    """UNO minus UNO-Single."""

    def scores(which: str) -> dict[str, list[float]]:
        own = [row for row in rows if row["dataset"] == dataset]
        return {str(row["test_idx"]): [float(v)] for row in own if (v := row[which][metric]) is not None}

    return compare(scores("metrics_single"), scores("metrics_uno"))


@pytest.mark.parametrize(
    ("dataset", "metric", "expected"),
    [
        ("WritingPrompts", "meteor", (0.008, 0.004, 0.013)),
        ("IdeaBench", "bert_score", (0.005, 0.002, 0.009)),
        ("JRE-L", "BERTScore-F1", (-0.001, -0.002, 0.0)),
        ("NFCats", "score", (0.0, -0.16, 0.16)),
        ("IdeaBench", "llm_rating_score", (-0.12, -0.58, 0.37)),
        ("JuDGE", "reasoning_bert_score", (-0.006, -0.013, 0.001)),
        ("JuDGE", "judge_meteor", (0.004, -0.002, 0.015)),
    ],
)
def test_what_critics_changed_comes_out_again(rows, dataset: str, metric: str, expected: tuple[float, float, float]):
    found = paired(rows, dataset, metric)
    assert (found.difference, found.low, found.high) == pytest.approx(expected, abs=0.02 if expected[2] > 0.1 else 6e-4)
