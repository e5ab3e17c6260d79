"""From what a user took in one domain to plausible items of the other: prompt, parse, match, filter, insert.

The published description leaves open how many representatives there are, how the filter decides and where an item is
put; what stands here is ours: the item nearest to each k-means centroid; a quantile of the generated items'
similarities; behind the most similar real item. Only `History.learned` is read. A proposal that happens to be one of
the user's held-out items is left out and counted: that is to our disadvantage, and no target is ever learned from.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import sparse

from reasoning_pipeline.workflows.recommendation.clustering import representatives
from reasoning_pipeline.workflows.recommendation.histories import Histories, History, Insertion

LONGEST_ANSWER, LONGEST_PROPOSAL, MOST_PROPOSALS = 4_000, 200, 20
"""Characters of an answer that are read, of one proposal, proposals of one answer: a model may write anything."""


@dataclass(frozen=True, kw_only=True)
class Direction:
    """One generation: what stands for a user in one domain, and the domain that is asked for."""

    user: int
    given: tuple[int, ...]
    wanted: int


@dataclass(frozen=True, kw_only=True)
class Proposal:
    """One generated item.

    Example:
        Proposal(user=7, item=311, text="cast iron skillet", similarity=0.41, beside=2)
    """

    user: int
    item: int
    text: str
    """As the generator wrote it."""
    similarity: float
    """Highest cosine to a real item of the user's."""
    beside: int
    """That item's place in `learned`."""


def directions(histories: Histories, vectors_NX: np.ndarray, count: int, seed: int) -> list[Direction]:
    """Both ways for every user with something to learn from: at most `count` representatives of each domain."""
    found = []
    for number, user in enumerate(histories.users):
        learned = np.array(user.learned, int)
        for domain in range(len(histories.domains)):
            own = np.unique(learned[histories.domain_N[learned] == domain]) if len(learned) else learned
            if len(own):
                chosen = own[representatives(vectors_NX[own], count, seed)]
                found.append(Direction(user=number, given=tuple(map(int, chosen)), wanted=1 - domain))
    return found


# A stand-in for a generator


def retrieved(
    asked: Sequence[Direction], histories: Histories, vectors_NX: np.ndarray, count: int
) -> list[list[tuple[int, str]]]:
    """The `count` items of the other domain nearest to the representatives' mean. A stand-in: no language model is
    asked, and nothing comes that the vectors do not know already."""
    pools = [np.flatnonzero(histories.domain_N == domain) for domain in range(len(histories.domains))]
    answers: list[list[tuple[int, str]]] = []
    for one in asked:
        pool, query = pools[one.wanted], vectors_NX[list(one.given)].mean(axis=0)
        near = vectors_NX[pool] @ query
        best = pool[np.argpartition(-near, min(count, len(pool) - 1))[:count]]
        answers.append([(int(item), histories.items[item].title) for item in best])
    return answers


# A language model


def prompt(one: Direction, histories: Histories, count: int, words: dict[str, str]) -> str:
    """What the generator is asked. Titles are data of others: quoted as JSON and bounded.

    Args:
        words: What the domains are called for people, e.g. {"A": "food", "B": "kitchen"}.
    """
    given = histories.domains[1 - one.wanted]
    titles = json.dumps([histories.items[item].title[:LONGEST_PROPOSAL] for item in one.given], ensure_ascii=False)
    wanted = words.get(histories.domains[one.wanted], histories.domains[one.wanted])
    return (
        f"A shopper bought these products in the category {words.get(given, given)}, quoted as data:\n{titles}\n"
        f"Name {count} products of the category {wanted} that the same person would plausibly buy. Do not repeat the "
        "products above. Answer with a JSON list of product titles and nothing else."
    )


def schema(count: int) -> str:
    """What a server holds an answer to, token by token; a model in this process is held to nothing."""
    title = {"type": "string", "minLength": 1, "maxLength": LONGEST_PROPOSAL}
    return json.dumps({"type": "array", "items": title, "maxItems": count})


def parsed(answer: str) -> list[str]:
    """Proposals in a model's answer: a JSON list wherever it stands, else lines that look like a list. Bounded, and
    never followed: whatever else a model writes is a title that no catalogue has."""
    text = answer[:LONGEST_ANSWER]
    start, end = text.find("["), text.rfind("]")
    if 0 <= start < end:
        try:
            values = json.loads(text[start : end + 1])
        except (ValueError, RecursionError):
            values = None
        if isinstance(values, list):
            return _clean(value for value in values if isinstance(value, str))
    listed = [re.match(r"\s*(?:[-*•]|\d{1,2}[.)])\s+(.+)", line) for line in text.splitlines()]
    return _clean(match.group(1) for match in listed if match)


def _clean(texts: Iterable[str]) -> list[str]:
    named = (" ".join(text.strip(" \"'`*").split())[:LONGEST_PROPOSAL] for text in texts)
    return list(dict.fromkeys(text for text in named if text))[:MOST_PROPOSALS]


class Catalogue:
    """Finds the item of a domain that a proposal means: cosine of words weighted by how rare they are (tf-idf)."""

    def __init__(self, histories: Histories, least: float) -> None:
        self.least, self._ids, self._vocabulary = least, list[np.ndarray](), dict[str, int]()
        titles = [_words(item.title) for item in histories.items]
        for title in titles:
            for word in title:
                self._vocabulary.setdefault(word, len(self._vocabulary))
        matrix = self._counts(titles)
        seen = np.bincount(matrix.indices, minlength=len(self._vocabulary))
        self._weight = np.log((1 + len(titles)) / (1 + seen)) + 1
        weighted = self._weighted(matrix)
        for domain in range(len(histories.domains)):
            self._ids.append(np.flatnonzero(histories.domain_N == domain))
        self._matrices = [weighted[ids] for ids in self._ids]

    def matches(self, texts: Sequence[str], domain: int) -> list[int | None]:
        """The nearest item of the domain for each text; None where none is near enough."""
        if not texts:
            return []
        near = (self._weighted(self._counts([_words(text) for text in texts])) @ self._matrices[domain].T).tocsr()
        found: list[int | None] = []
        for row in range(len(texts)):
            values = near.data[near.indptr[row] : near.indptr[row + 1]]
            best = int(values.argmax()) if len(values) else -1
            good = best >= 0 and values[best] >= self.least
            found.append(int(self._ids[domain][near.indices[near.indptr[row] + best]]) if good else None)
        return found

    def _counts(self, texts: Sequence[list[str]]) -> sparse.csr_matrix:
        entries = [
            (row, self._vocabulary[w]) for row, words in enumerate(texts) for w in set(words) if w in self._vocabulary
        ]
        rows, columns = zip(*entries, strict=True) if entries else ((), ())
        return sparse.csr_matrix((np.ones(len(entries)), (rows, columns)), shape=(len(texts), len(self._vocabulary)))

    def _weighted(self, counts: sparse.csr_matrix) -> sparse.csr_matrix:
        weighted = counts.multiply(self._weight).tocsr()
        norms = np.sqrt(weighted.multiply(weighted).sum(axis=1)).A1
        return sparse.diags(1 / np.maximum(norms, 1e-9)) @ weighted


def _words(text: str) -> list[str]:
    return re.findall(r"\w+", text.casefold())


# Filter and insertion


def proposals(
    asked: Sequence[Direction],
    answers: Sequence[Sequence[tuple[int, str]]],
    histories: Histories,
    vectors_NX: np.ndarray,
) -> list[Proposal]:
    """What was generated, without any item of the user's own, each with the real item it is nearest to."""
    found: dict[tuple[int, int], Proposal] = {}
    for one, answer in zip(asked, answers, strict=True):
        user = histories.users[one.user]
        learned = user.learned
        for item, text in answer:
            if item in user.items:
                continue
            near = vectors_NX[list(learned)] @ vectors_NX[item]
            found.setdefault(
                (one.user, item),
                Proposal(user=one.user, item=item, text=text, similarity=float(near.max()), beside=int(near.argmax())),
            )
    return list(found.values())


def threshold(found: Sequence[Proposal], quantile: float) -> float:
    """The similarity that this share of the proposals stays below; nothing is filtered at 0."""
    return float(np.quantile([p.similarity for p in found], quantile)) if found and quantile > 0 else -np.inf


def inserted(histories: Histories, kept: Sequence[Proposal]) -> Histories:
    """Every kept item directly behind the real item it is nearest to; real items keep their order, targets theirs."""
    by_user: dict[int, list[Insertion]] = {}
    for one in kept:
        by_user.setdefault(one.user, []).append(Insertion(after=one.beside + 1, item=one.item))

    def augmented(number: int, user: History) -> History:
        entries = sorted(by_user.get(number, ()), key=lambda entry: (entry.after, entry.item))
        return History(user=user.user, items=user.items, split=user.split, inserted=tuple(entries))

    return histories.with_users(augmented(number, user) for number, user in enumerate(histories.users))
