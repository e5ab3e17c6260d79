"""How alike two texts are, by their words: BLEU of a sentence, BM25 of a query and documents. Each with its source."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence

import numpy as np

K1, B = 1.5, 0.75
"""Of BM25: how soon a repeated word counts no more, and how much a document's length does."""
_TOKENS = re.compile(r"[\u3400-\u9fff\uf900-\ufaff]|\w+|[^\w\s]")


def tokens(text: str) -> list[str]:
    """Words, marks, and each Chinese character by itself."""
    return _TOKENS.findall(text.casefold())


def bleu4(candidate: str, reference: str) -> float:
    """BLEU-4 of a sentence (Papineni et al., ACL 2002), precisions above one word smoothed by one (Lin and Och, ACL
    2004), with the brevity penalty. 0 where no word is shared."""
    ours, theirs = tokens(candidate), tokens(reference)
    if not ours or not theirs:
        return 0.0
    logs = 0.0
    for order in range(1, 5):
        have, want = _grams(ours, order), _grams(theirs, order)
        shared, smooth = sum((have & want).values()), int(order > 1)
        if shared + smooth == 0:
            return 0.0
        logs += math.log((shared + smooth) / (max(len(ours) - order + 1, 0) + smooth))
    return math.exp(logs / 4 + min(0.0, 1.0 - len(theirs) / len(ours)))


def _grams(words: list[str], order: int) -> Counter[tuple[str, ...]]:
    return Counter(tuple(words[at : at + order]) for at in range(len(words) - order + 1))


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
        # In the words' order: that of a set, and with it the last digit, would change from run to run.
        for word in dict.fromkeys(word for word in tokens(query) if word in self._idf):
            counts = np.array([one[word] for one in self._counts], dtype=float)
            found += self._idf[word] * counts * (K1 + 1) / (counts + norm)
        return found
