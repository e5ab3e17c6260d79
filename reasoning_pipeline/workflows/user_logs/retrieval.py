"""Rules of past logs found by the query: the baselines that keep a memory instead of learning."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

import numpy as np

from reasoning_pipeline.workflows.user_logs.choice import tokens

K1, B = 1.5, 0.75


class BM25:
    """Okapi BM25 (Robertson and Zaragoza, Foundations and Trends in IR 3, 2009), with the idf that is never
    negative."""

    def __init__(self, texts: Sequence[str]) -> None:
        self._counts = [Counter(tokens(text)) for text in texts]
        self._lengths = np.array([sum(counts.values()) for counts in self._counts], dtype=float)
        documents = Counter(word for counts in self._counts for word in counts)
        self._idf = {
            word: math.log(1 + (len(texts) - count + 0.5) / (count + 0.5)) for word, count in documents.items()
        }

    def scores(self, query: str) -> np.ndarray:
        """[N]."""
        found = np.zeros(len(self._counts))
        norm = K1 * (1 - B + B * self._lengths / max(self._lengths.mean(), 1e-9))
        for word in dict.fromkeys(tokens(query)):  # a set's order, and with it the last digit, would change with runs
            if word not in self._idf:
                continue
            counts = np.array([one[word] for one in self._counts], dtype=float)
            found += self._idf[word] * counts * (K1 + 1) / (counts + norm)
        return found


def rules_of(nearest: Sequence[int], rules: Sequence[Sequence[str]], most: int) -> tuple[str, ...]:
    """The rules of these logs, the nearest first, each once."""
    return tuple(dict.fromkeys(rule for at in nearest for rule in rules[at]))[:most]
