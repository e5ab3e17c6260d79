"""End to end with known answers: prompt, sampling, extraction, verdict and statistics must give back what was built.

Each problem gets k answers of which the first (index mod k + 1) are its gold, dressed in several ways; the others are
wrong in several ways. So every score is known before anything runs.
"""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from evals.run import evaluate
from reasoning_pipeline.data.prompts import PromptRenderer
from reasoning_pipeline.data.suites.loading import Suite, load_suite
from reasoning_pipeline.records import Decoding
from reasoning_pipeline.rollouts.clients.scripted import Answer, ScriptedSampler

K = 4
RIGHT = (
    "Adding up, $\\boxed{{{gold}}}$.",
    "<think>First \\boxed{{0}}, no.</think>The answer is \\boxed{{ {gold} }}",
    "A guess would be \\boxed{{12345}}. Checking it properly shows otherwise. \\[\\boxed{{{gold}}}\\]",
    "\\fbox{{{gold}}}",
)
WRONG: tuple[tuple[Answer, str], ...] = (
    ("\\boxed{-987654321}", "wrong"),
    ("I do not know.", "no_box"),
    ("It is \\boxed{}.", "empty_box"),
    (("Let me think about it for longer and", "length"), "truncated"),
)


def script(
    suite: Suite, renderer: PromptRenderer
) -> tuple[dict[tuple[int, ...], list[Answer]], dict[str, int], Counter[str]]:
    """Answers by prompt, right answers by problem, statuses to be seen."""
    answers, right, statuses = {}, {}, Counter[str]()
    for number, problem in enumerate(suite.problems):
        count = number % (K + 1)
        row: list[Answer] = [RIGHT[(number + i) % len(RIGHT)].format(gold=problem.answer) for i in range(count)]
        wrong = [WRONG[(number + i) % len(WRONG)] for i in range(K - count)]
        answers[tuple(renderer.prompt_ids(problem.question))] = row + [answer for answer, _ in wrong]
        right[problem.id] = count
        statuses.update({"correct": count})
        statuses.update(status for _, status in wrong)
    return answers, right, statuses


def replay(suites: list[Suite], renderer: PromptRenderer, out: Path) -> None:
    answers: dict[tuple[int, ...], list[Answer]] = {}
    expected = {}
    for suite in suites:
        by_prompt, right, statuses = script(suite, renderer)
        answers |= by_prompt
        expected[suite.name] = (right, statuses)
    result = evaluate(
        suites=suites,
        renderer=renderer,
        sampler=ScriptedSampler(lambda ids, sample: answers[tuple(ids)][sample], renderer),
        decoding=Decoding(max_tokens=4_096),
        samples=K,
        out=out,
        checkpoint="scripted",
    )
    for name, (right, statuses) in expected.items():
        summary = result.summaries[name]
        assert {problem: sum(row) for problem, row in summary.scores.items()} == right, name
        assert summary.statuses == +statuses, name
        shares = np.array(list(right.values())) / K
        assert summary.score.mean == pytest.approx(shares.mean(), abs=1e-12)
        # s^2 of c right of k: k/(k-1) * p(1-p)
        fixed = np.sqrt((shares * (1 - shares) / (K - 1)).sum()) / len(shares)
        assert summary.score.se_fixed == pytest.approx(fixed)
        assert summary.score.se_drawn == pytest.approx(shares.std(ddof=1) / np.sqrt(len(shares)))
        assert summary.pass_at[K] == pytest.approx((shares > 0).mean())
        assert summary.disagreements == 0
        assert summary.shares["truncated"] == statuses["truncated"] / (K * len(shares))
        assert summary.shares["set_aside"] == 0


def test_constructed_scores_come_out_exactly(write_rows, renderer, tmp_path):
    golds = ["42", "\\frac{3}{4}", "\\sqrt{2}", "(1, 2)", "2\\pi", "x^2 + 1", "-7", "0.5", "\\{1, 2, 3\\}", "[0, 1)"]
    rows = [{"unique_id": f"p{i}", "problem": f"Find thing {i}.", "answer": gold} for i, gold in enumerate(golds)]
    replay([load_suite(str(write_rows(rows, "mixed.jsonl")))], renderer, tmp_path / "out")


DATA = os.environ.get("REASONING_DATA")


@pytest.mark.skipif(DATA is None, reason="REASONING_DATA names no folder with math500, aime24, aime25 (.jsonl)")
def test_constructed_scores_come_out_exactly_on_the_real_files(renderer, tmp_path):
    suites = [load_suite(name, data=Path(str(DATA)) / f"{name}.jsonl") for name in ("math500", "aime24", "aime25")]
    assert [len(suite.problems) for suite in suites] == [500, 30, 30]
    replay(suites, renderer, tmp_path / "out")
