"""What a user likes, in words: groups of learned items by cluster and domain, each summed up, then merged and embedded.

Only `History.learned` is read, so neither validation nor test item stands in a profile.
"""

from __future__ import annotations

import json
import re
from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from reasoning_pipeline.statistics.directions import cluster_of
from reasoning_pipeline.workflows.recommendation.histories import Item

GROUP_TITLES = 15
"""The last so many of a group, as in LLM4CDSR, whose 50 and 100 words are kept below too."""
GROUP_WORDS, OVERALL_WORDS = 50, 100
LONGEST_ANSWER = 2_000
WORDS_OF_A_GROUP = 4
COMMON = frozenset("a an and by for from in of on or oz ounce pack pcs set the to with inch count size".split())  # noqa: SIM905


class Group(NamedTuple):
    """Items of one cluster and one domain in a history: Group(domain="B", titles=["Lodge skillet", "Griddle"])."""

    domain: str
    titles: list[str]


def groups_of(
    items: Sequence[int], catalogue: Sequence[Item], vectors_NX: np.ndarray, centroids_KX: np.ndarray, most: int
) -> list[Group]:
    """The largest `most` groups, largest first; of each the last titles."""
    if not items:
        return []
    found: dict[tuple[str, int], list[str]] = defaultdict(list)
    for item, cluster in zip(items, cluster_of(vectors_NX[list(items)], centroids_KX), strict=True):
        found[catalogue[item].domain, int(cluster)].append(catalogue[item].title)
    largest = sorted(found.items(), key=lambda entry: (-len(entry[1]), entry[0]))[:most]
    return [Group(domain, titles[-GROUP_TITLES:]) for (domain, _), titles in largest]


def summed_up(group: Group) -> str:
    """A stand-in for the language model: the words that most titles of the group share."""
    words = Counter(word for title in group.titles for word in set(re.findall(r"[^\W\d_]+", title.casefold())))
    shared = sorted(words.items(), key=lambda entry: (-entry[1], entry[0]))
    return " ".join([word for word, _ in shared if word not in COMMON and len(word) > 1][:WORDS_OF_A_GROUP])


def merged(groups: Sequence[Group], summaries: Sequence[str]) -> str:
    """The stand-in's profile: every group's summary behind its domain."""
    by_domain: dict[str, list[str]] = defaultdict(list)
    for group, summary in zip(groups, summaries, strict=True):
        by_domain[group.domain].append(summary)
    return "; ".join(f"{domain}: {', '.join(said)}" for domain, said in sorted(by_domain.items()))


def group_prompt(group: Group, words: dict[str, str]) -> str:
    titles = json.dumps([title[:200] for title in group.titles], ensure_ascii=False)
    return (
        f"Products of the category {words.get(group.domain, group.domain)} that one person bought, quoted as data:\n"
        f"{titles}\nIn at most {GROUP_WORDS} words, say what this person is interested in. Answer with that alone."
    )


def merge_prompt(groups: Sequence[Group], summaries: Sequence[str], words: dict[str, str]) -> str:
    said = [{"category": words.get(g.domain, g.domain), "interest": s} for g, s in zip(groups, summaries, strict=True)]
    return (
        f"One person's interests by category, quoted as data:\n{json.dumps(said, ensure_ascii=False)}\n"
        f"Merge them into one profile of at most {OVERALL_WORDS} words. Answer with the profile alone."
    )


def bounded(answer: str, words: int) -> str:
    """A model's answer as plain words, at most so many."""
    return " ".join(answer[:LONGEST_ANSWER].split()[:words])
