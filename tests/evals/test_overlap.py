"""Contamination: the same problem in other clothes is found, another problem is not."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from evals.__main__ import main
from reasoning_pipeline.data.overlap import find_overlaps, normal_text
from reasoning_pipeline.records import Problem


def problems(*questions: str, prefix: str = "t") -> list[Problem]:
    return [Problem(id=f"{prefix}{i}", question=question, answer="1") for i, question in enumerate(questions)]


LONG = "A train leaves the station at noon and travels north at sixty miles an hour until it stops"


def test_case_space_and_layout_do_not_hide_a_problem():
    bench = problems("Find $\\dfrac{1}{2} + \\left(x\\right)$.", prefix="b")
    [found] = find_overlaps(problems("find  $$\\frac{1}{2}+(x)$$"), bench)
    assert (found.train_id, found.benchmark_id, found.kind) == ("t0", "b0", "exact")


def test_operators_tell_problems_apart():
    assert find_overlaps(problems("3+5*2"), problems("3-5*2", prefix="b")) == []
    assert normal_text("3+5") != normal_text("3-5")


def test_thirteen_words_in_a_row_are_an_overlap_and_twelve_are_not():
    words = LONG.split()
    bench = problems(LONG, prefix="b")
    thirteen, twelve = "Yesterday " + " ".join(words[2:15]), "Yesterday " + " ".join(words[2:14])
    [found] = find_overlaps(problems(thirteen, twelve), bench)
    assert (found.train_id, found.kind, found.shared) == ("t0", "ngram", " ".join(words[2:15]).lower())


def test_one_pair_is_listed_once():
    assert [o.kind for o in find_overlaps(problems(LONG), problems(LONG, LONG + " there", prefix="b"))] == [
        "exact",
        "ngram",
    ]


def test_the_command_lists_and_counts(write_rows, capsys):
    train = write_rows([{"id": "t0", "problem": LONG, "answer": "1"}], "train.jsonl")
    bench = write_rows([{"id": "b0", "problem": LONG, "answer": "1"}, {"id": "b1", "problem": "Else?", "answer": "2"}])
    assert main(["overlap", str(train), str(bench), "--json"]) == 0
    shown = capsys.readouterr()
    assert json.loads(shown.out)["benchmark_id"] == "b0"
    assert "1 of 2 problems stand in" in shown.err


REAL = os.environ.get("REASONING_DATA")


@pytest.mark.skipif(REAL is None, reason="REASONING_DATA names no folder with math_train.jsonl and math500.jsonl")
def test_known_overlaps_of_math(capsys):
    folder = Path(str(REAL))
    arguments = ["overlap", str(folder / "math_train.jsonl"), "math500", "aime24", "--json"]
    arguments += [f"--data=math500={folder / 'math500.jsonl'}", f"--data=aime24={folder / 'aime24.jsonl'}"]
    assert main(arguments) == 0
    found = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    # Measured once with another program: 58 of MATH-500 share 13 words with MATH train, none is there word for word.
    assert len({line["benchmark_id"] for line in found if line["suite"] == "math500"}) == 58
    # AIME's are all stock phrases ("where m and n are relatively prime positive integers").
    assert not [line for line in found if line["kind"] == "exact"]
