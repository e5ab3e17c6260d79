"""Contamination: which training problems also stand in a benchmark, by normalised text or by thirteen words in a row.

Thirteen words as in GPT-3's study (Brown et al., arXiv 2005.14165, appendix C). An n-gram match is a suspicion and not
a proof: competition problems share stock phrases. Pools leave such problems out (pools.py); `python -m evals overlap`
lists them.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

from reasoning_pipeline.records import Problem

NGRAM = 13
_WORD = re.compile(r"[^\W_]+")
_LAYOUT = re.compile(r"\\(?:left|right|displaystyle|dfrac|tfrac|[,;:! ])|[$~\s]+")


@dataclass(frozen=True, kw_only=True)
class Overlap:
    """A training problem that a benchmark holds too.

    Example:
        Overlap(train_id="train/algebra/24014.json", benchmark_id="test/algebra/2584.json", kind="ngram",
                shared="what is the value of f 2 f 1 f 0 express your")
    """

    train_id: str
    benchmark_id: str
    kind: Literal["exact", "ngram"]
    shared: str
    """The first words in common, for reading."""


def find_overlaps(train: Iterable[Problem], benchmark: Iterable[Problem], *, n: int = NGRAM) -> list[Overlap]:
    """At most one overlap per training problem and benchmark problem; exact before n-gram; in training order.

    Linear in the text of both. A question shorter than `n` words can only match exactly.
    """
    exact: dict[str, list[str]] = {}
    grams: dict[tuple[str, ...], list[str]] = {}
    for problem in benchmark:
        exact.setdefault(normal_text(problem.question), []).append(problem.id)
        for gram in set(_grams(problem.question, n)):
            grams.setdefault(gram, []).append(problem.id)
    found: list[Overlap] = []
    for problem in train:
        same = exact.get(normal_text(problem.question), [])
        found += [
            Overlap(
                train_id=problem.id, benchmark_id=other, kind="exact", shared=" ".join(_words(problem.question)[:n])
            )
            for other in same
        ]
        seen = set(same)
        for gram in _grams(problem.question, n):
            for other in grams.get(gram, ()):
                if other not in seen:
                    seen.add(other)
                    found.append(Overlap(train_id=problem.id, benchmark_id=other, kind="ngram", shared=" ".join(gram)))
    return found


def normal_text(text: str) -> str:
    """Text without case, white space and TeX layout. Operators stay: 3+5 and 3-5 are two problems."""
    text = unicodedata.normalize("NFKC", text).lower()
    text = _LAYOUT.sub(lambda m: r"\frac" if m.group() in (r"\dfrac", r"\tfrac") else "", text)
    return text.rstrip(".?! ")


def _words(text: str) -> list[str]:
    return _WORD.findall(unicodedata.normalize("NFKC", text).lower())


def _grams(text: str, n: int) -> Iterator[tuple[str, ...]]:
    words = _words(text)
    return (tuple(words[i : i + n]) for i in range(len(words) - n + 1))
