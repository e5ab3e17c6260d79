"""Likeness of texts by their words, by hand."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from reasoning_pipeline.statistics.texts import BM25, bleu4

BASE = "The cat sat on the mat and looked at the rain."


def test_bleu_of_the_same_text_is_one_and_of_strangers_none():
    assert bleu4(BASE, BASE) == pytest.approx(1.0)
    assert bleu4("dogs bark", BASE) == 0.0
    # "the cat sat": 3/3, (2+1)/(2+1), (1+1)/(1+1), (0+1)/(0+1), and exp(1 - 11/3) for its shortness
    assert bleu4("the cat sat", "the cat sat on a mat , and it rained all") == pytest.approx(
        2.71828 ** (1 - 11 / 3), rel=1e-4
    )
    assert bleu4("下雨了", "下雨了") == pytest.approx(1.0)


def test_bm25_finds_the_rarer_word():
    index = BM25(["a poem on rain", "a poem on snow", "a letter"])
    assert index.scores("snow poem").argmax() == 1
    assert index.scores("nothing of it").tolist()[2] == 0


def test_bm25_is_the_same_to_the_last_digit_in_every_process():
    """A set's order follows PYTHONHASHSEED, and a sum of floats its order."""
    texts = ["a poem on rain and snow", "a letter on rain", "snow and rain on the roof of a house", "a joke"]
    script = (
        "from reasoning_pipeline.statistics.texts import BM25\n"
        f"print([score.hex() for score in BM25({texts!r}).scores('a poem on rain and the snow of a house').tolist()])"
    )
    environments = [{**os.environ, "PYTHONHASHSEED": str(seed)} for seed in range(3)]
    found = {subprocess.check_output([sys.executable, "-c", script], env=one, text=True) for one in environments}
    assert len(found) == 1
