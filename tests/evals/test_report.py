"""The page: complete, self-contained, and deaf to what a model writes."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from evals import report
from evals.run import evaluate
from reasoning_pipeline.data.suites.loading import load_suite
from reasoning_pipeline.rollouts.clients.scripted import ScriptedSampler

HOSTILE = "</script><script>alert(1)</script><img src=x onerror=alert(2)> \u2028 <!-- \\boxed{1}"


@pytest.fixture
def page(write_rows, renderer, decoding, tmp_path: Path) -> str:
    rows = [
        {"unique_id": "<b>id</b>", "problem": HOSTILE, "answer": "1", "level": 1},
        {"problem": "Plain?", "answer": "2", "level": 2},
    ]
    suite = load_suite(str(write_rows(rows)))
    sampler = ScriptedSampler(lambda ids, i: HOSTILE, renderer)
    evaluate(
        suites=[suite], renderer=renderer, sampler=sampler, decoding=decoding, samples=2, out=tmp_path / "o",
        checkpoint="<i>checkpoint</i>",
    )  # fmt: skip
    return (tmp_path / "o" / "report.html").read_text()


def test_nothing_a_model_wrote_becomes_markup(page: str):
    assert page.count("<script") == 2  # the data and the page's own
    assert page.count("</script") == 2
    for fragment in ("<img", "<b>id", "<i>checkpoint", "<!--"):
        assert fragment not in page, fragment


def test_every_sample_can_be_read_back_from_the_page(page: str):
    found = re.search(r'<script type="application/json" class="data">(.*?)</script>', page, re.DOTALL)
    assert found is not None
    problems = json.loads(found.group(1))
    assert problems[0]["id"] == "<b>id</b>"
    assert problems[0]["samples"][1]["text"] == HOSTILE
    assert problems[0]["outcomes"][0] == "all right"
    assert problems[1]["outcomes"][0] == "none right"


def test_the_page_needs_nothing_from_elsewhere(page: str):
    assert not re.findall(r"""(?:src|href)\s*=\s*["'](?!#)""", page)
    assert "default-src 'none'" in page
    assert 'name="viewport"' in page
    assert page.count("<svg") >= 3


def test_long_texts_keep_beginning_and_end():
    text = "a" * 5_000 + "b" * 5_000
    short = report._shortened(text, 400)
    assert short.startswith("a" * 200) and short.endswith("b" * 200)
    assert "9,600 characters left out" in short
    assert report._shortened(text, 10_000) == text
