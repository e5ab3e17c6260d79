"""From what a user took in one domain to plausible items of the other: prompt, parse, match, filter, insert.

The published description leaves open how many representatives there are, how the filter decides and where an item is
put; what stands here is ours: the item nearest to each k-means centroid; a quantile of the generated items'
similarities; behind the most similar real item. Only `History.learned` is read. A proposal that happens to be one of
the user's held-out items is left out: that is to our disadvantage, and no target is ever learned from.
"""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from reasoning_pipeline.statistics.directions import representatives
from reasoning_pipeline.workflows.recommendation.histories import Histories, Insertion

LONGEST_ANSWER, LONGEST_PROPOSAL, MOST_PROPOSALS = 4_000, 200, 20
"""Characters of an answer that are read, of one proposal, proposals of one answer: a model may write anything."""

Answers = list[list[tuple[int, str]]]
"""To each direction what was named: (item, text as the generator wrote it)."""


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
        learned = np.unique(np.array(user.learned, int))
        for domain in range(len(histories.domains)):
            own = learned[histories.domain_N[learned] == domain]
            if len(own):
                chosen = own[representatives(vectors_NX[own], count, seed)]
                found.append(Direction(user=number, given=tuple(chosen.tolist()), wanted=1 - domain))
    return found


# Stand-ins for a generator


def retrieved(asked: Sequence[Direction], histories: Histories, vectors_NX: np.ndarray, count: int) -> Answers:
    """The `count` items of the other domain nearest to the representatives' mean: nothing comes that the vectors do not
    know already."""
    named = []
    for one in asked:
        places = histories.places[one.wanted]
        near = vectors_NX[places] @ vectors_NX[list(one.given)].mean(axis=0)
        named.append(places[np.argpartition(-near, min(count, len(near) - 1))[:count]].tolist())
    return titled(named, histories)


def titled(named: Iterable[Iterable[int]], histories: Histories) -> Answers:
    """Items as a generator that knows the catalogue would have written them."""
    return [[(item, histories.items[item].title) for item in items] for items in named]


# A language model


def prompt(one: Direction, histories: Histories, count: int, words: dict[str, str]) -> str:
    """What the generator is asked. Titles are data of others: quoted as JSON and bounded.

    Args:
        words: What the domains are called for people, e.g. {"A": "food", "B": "kitchen"}.
    """
    titles = json.dumps([histories.items[item].title[:LONGEST_PROPOSAL] for item in one.given], ensure_ascii=False)
    names = [words.get(name, name) for name in histories.domains]
    return (
        f"A shopper bought these products in the category {names[1 - one.wanted]}, quoted as data:\n{titles}\n"
        f"Name {count} products of the category {names[one.wanted]} that the same person would plausibly buy. Do "
        "not repeat the products above. Answer with a JSON list of product titles and nothing else."
    )


def schema(count: int) -> str:
    """What a server holds an answer to, token by token; a model in this process is held to nothing."""
    title = {"type": "string", "minLength": 1, "maxLength": LONGEST_PROPOSAL}
    return json.dumps({"type": "array", "items": title, "maxItems": count})


def parsed(answer: str) -> list[str]:
    """Proposals in a model's answer: a JSON list wherever it stands, else lines that look like a list. Bounded, and
    never followed: whatever else a model writes is a title that no catalogue has."""
    text = answer[:LONGEST_ANSWER]
    try:
        values = json.loads(text[text.index("[") : text.rindex("]") + 1])
        found = [value for value in values if isinstance(value, str)]
    except (ValueError, RecursionError):
        listed = [re.match(r"\s*(?:[-*•]|\d{1,2}[.)])\s+(.+)", line) for line in text.splitlines()]
        found = [match.group(1) for match in listed if match]
    named = (" ".join(text.strip(" \"'`*").split())[:LONGEST_PROPOSAL] for text in found)
    return list(dict.fromkeys(text for text in named if text))[:MOST_PROPOSALS]


class Catalogue:
    """Finds the item of a domain that a proposal means: cosine of words weighted by how rare they are (tf-idf)."""

    def __init__(self, histories: Histories, least: float) -> None:
        titles = [_words(item.title) for item in histories.items]
        found: dict[str, list[int]] = defaultdict(list)
        for item, words in enumerate(titles):
            for word in words:
                found[word].append(item)
        self.least, self._places = least, histories.places
        self._items = {word: np.array(items) for word, items in found.items()}
        rarity = {word: float(np.log((1 + len(titles)) / (1 + len(items)))) + 1 for word, items in self._items.items()}
        self._squares = {word: weight**2 for word, weight in rarity.items()}
        self._lengths_N = np.sqrt([sum(self._squares[word] for word in words) for words in titles])

    def matches(self, texts: Sequence[str], domain: int) -> list[int | None]:
        """For each text the nearest item of the domain, the first of several; None where none is near enough."""
        return [self._match([word for word in _words(text) if word in self._items], domain) for text in texts]

    def _match(self, words: list[str], domain: int) -> int | None:
        if not words:
            return None
        products_N = np.zeros(len(self._lengths_N))
        for word in words:
            products_N[self._items[word]] += self._squares[word]
        length, places = np.sqrt(sum(self._squares[word] for word in words)), self._places[domain]
        cosines = products_N[places] / np.maximum(self._lengths_N[places] * length, 1e-9)
        best = int(cosines.argmax())
        return int(places[best]) if cosines[best] >= max(self.least, 1e-9) else None


def _words(text: str) -> set[str]:
    return set(re.findall(r"\w+", text.casefold()))


# Filter and insertion


def proposals(
    asked: Sequence[Direction], answers: Answers, histories: Histories, vectors_NX: np.ndarray
) -> list[Proposal]:
    """What was generated, without any item of the user's own, each with the real item it is nearest to."""
    found: dict[tuple[int, int], Proposal] = {}
    for one, answer in zip(asked, answers, strict=True):
        user = histories.users[one.user]
        for item, text in answer:
            if item not in user.items and (one.user, item) not in found:
                near = vectors_NX[list(user.learned)] @ vectors_NX[item]
                similarity, beside = float(near.max()), int(near.argmax())
                found[one.user, item] = Proposal(
                    user=one.user, item=item, text=text, similarity=similarity, beside=beside
                )
    return list(found.values())


def threshold(found: Sequence[Proposal], quantile: float) -> float:
    """The similarity that this share of the proposals stays below; nothing is filtered at 0."""
    return float(np.quantile([p.similarity for p in found], quantile)) if found and quantile > 0 else -np.inf


def inserted(histories: Histories, kept: Sequence[Proposal]) -> Histories:
    """Every kept item directly behind the real item it is nearest to; real items keep their order, targets theirs."""
    entries: dict[int, list[Insertion]] = defaultdict(list)
    for one in kept:
        entries[one.user].append(Insertion(after=one.beside + 1, item=one.item))
    return histories.with_users(
        replace(user, inserted=tuple(sorted(entries[number]))) for number, user in enumerate(histories.users)
    )
