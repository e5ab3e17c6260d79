"""A small world whose truth is known: eight themes, two domains with no noun in common, users with a taste.

Titles say a brand, a noun of the theme and a colour. A user has a main and a second theme and moves between them like
a sticky Markov chain; a ninth of what they take is of domain B. `knowledge` plays the language model: for every item
a few of the other domain, three quarters of the same theme. It has never seen a user.
"""

from __future__ import annotations

import numpy as np
from pydantic import Field

from reasoning_pipeline.workflows.recommendation.histories import Item
from reasoning_pipeline.workflows.recommendation.reading import Found
from reasoning_pipeline.workflows.recommendation.settings import Strict

THEMES = 8
NOUNS = 5
"""Of a theme, in each domain."""
SYLLABLES = ("ba", "ke", "li", "mo", "nu", "ra", "si", "to", "ve", "zu")


class World(Strict):
    users: int = Field(1200, ge=20)
    """Who take 6 to 16 items each."""
    items_A: int = Field(200, ge=40)
    """Of the domain that is used most."""
    items_B: int = Field(120, ge=40)
    """Of the other one."""
    share_B: float = Field(0.11, gt=0, lt=1)
    """Of events that are in domain B; 0.11 as in the published Cloth-Sport."""
    noise: float = Field(0.25, ge=0, le=1)
    """Of the known items that are of another theme."""
    seed: int = 0
    """The world's own: seeds of a recipe are runs in the same world."""


def make(world: World) -> tuple[Found, dict[int, list[int]]]:
    """(items and users, item -> what goes with it in the other domain)."""
    rng = np.random.default_rng(world.seed)
    brands, colours = _words(rng, 12), _words(rng, 8)
    found = Found()
    for domain, count in (("A", world.items_A), ("B", world.items_B)):
        nouns = np.array(_words(rng, THEMES * NOUNS)).reshape(THEMES, NOUNS)
        for number in range(count):
            words = [rng.choice(brands), nouns[number % THEMES, rng.integers(NOUNS)], rng.choice(colours)]
            name = f"{domain}{number}"
            found.items[name] = Item(id=name, domain=domain, title=" ".join(map(str, words)))
    names = list(found.items)
    theme_N, is_B = np.r_[: world.items_A, : world.items_B] % THEMES, np.arange(len(names)) >= world.items_A
    # Within a theme some items are taken more often than others: popularity is worth knowing, as in shops.
    weight_N = rng.pareto(1.5, len(names)) + 0.2
    for user in range(world.users):
        main, second = rng.choice(THEMES, 2, replace=False)
        theme, taken = main, list[int]()
        for _ in range(rng.integers(6, 17)):
            if rng.random() > 0.8:
                theme = second if theme == main else main
            possible = np.flatnonzero((theme_N == theme) & (is_B == (rng.random() < world.share_B)))
            possible = possible[~np.isin(possible, taken)]
            if len(possible):
                taken.append(int(rng.choice(possible, p=weight_N[possible] / weight_N[possible].sum())))
        found.add_user("world", f"u{user}", [names[item] for item in taken], "leave_one_out")
    knowledge = {
        item: [
            int(rng.choice(np.flatnonzero((is_B != is_B[item]) & ((theme_N == theme_N[item]) | odd))))
            for odd in rng.random(4) < world.noise
        ]
        for item in range(len(names))
    }
    return found, knowledge


def _words(rng: np.random.Generator, count: int) -> list[str]:
    """Different made-up words of three syllables."""
    words: dict[str, None] = {}
    while len(words) < count:
        words["".join(rng.choice(SYLLABLES, 3))] = None
    return list(words)
