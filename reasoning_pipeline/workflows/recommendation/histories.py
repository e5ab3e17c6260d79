"""Who took what, in which order: the records that every stage of this workflow reads, and their folder on disk."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np

from reasoning_pipeline.base.fingerprint import digest
from reasoning_pipeline.base.jsonl import lines, read_rows
from reasoning_pipeline.workflows.recommendation.settings import Part

Split = Literal["leave_one_out", "train", "valid", "test"]
"""`leave_one_out`: the last item is the test target, the one before it the validation target, the rest is learned from.
`train`: all is learned from. `valid`, `test`: a user held out, whose last item is the target."""


@dataclass(frozen=True, kw_only=True)
class Item:
    """Example: Item(id="B000BIZT3E", domain="A", title="Enfamil Prosobee Soy Infant Formula Powder")"""

    id: str
    domain: str
    title: str


class Insertion(NamedTuple):
    """An item put into a history, behind the first `after` real items."""

    after: int
    item: int


class Case(NamedTuple):
    """One user's question. Example: Case(user="overlap/7", history=(14, 811, 20), target=9, domain=0)"""

    user: str
    history: tuple[int, ...]
    """What is known: real items alone."""
    target: int
    domain: int
    """The target's."""


@dataclass(frozen=True, kw_only=True)
class History:
    """One user's items in time order, as indices into the catalogue.

    Example:
        History(user="overlap/7", items=(14, 811, 20, 9), split="leave_one_out", inserted=(Insertion(after=1, item=3),))
    """

    user: str
    items: tuple[int, ...]
    split: Split
    inserted: tuple[Insertion, ...] = ()

    @property
    def learned(self) -> tuple[int, ...]:
        """The real items that may be learned from: in prompts, profiles and losses stands nothing else."""
        if self.split == "leave_one_out":
            return self.items[:-2]
        return self.items if self.split == "train" else ()

    @property
    def training(self) -> tuple[int, ...]:
        """`learned` with what was inserted, real items in their own order."""
        woven = list(self.learned)
        for entry in sorted(self.inserted, reverse=True):
            woven.insert(entry.after, entry.item)
        return tuple(woven)

    def case(self, part: Part) -> tuple[tuple[int, ...], int] | None:
        """(what is known, the item to be foretold); None where this user has none."""
        if self.split == "leave_one_out":
            end = len(self.items) - (1 if part == "test" else 2)
            return self.items[:end], self.items[end]
        return (self.items[:-1], self.items[-1]) if self.split == part else None


@dataclass(frozen=True)
class Histories:
    """A catalogue of two domains and the histories in it."""

    items: tuple[Item, ...]
    users: tuple[History, ...]

    @cached_property
    def domains(self) -> tuple[str, ...]:
        return tuple(sorted({item.domain for item in self.items}))

    @cached_property
    def domain_N(self) -> np.ndarray:  # noqa: N802 - its dimension
        """[items]: the number of each item's domain."""
        return np.array([self.domains.index(item.domain) for item in self.items])

    @cached_property
    def places(self) -> list[np.ndarray]:
        return places_of(self.domain_N)

    @cached_property
    def counts_N(self) -> np.ndarray:  # noqa: N802
        """[items]: how often each is taken in what may be learned from; popularity, without what was inserted."""
        taken = [item for user in self.users for item in user.learned]
        return np.bincount(np.array(taken, int), minlength=len(self.items))

    @property
    def items_digest(self) -> str:
        """Of the catalogue: what was computed for one catalogue must not meet another."""
        return digest([[item.id, item.domain, item.title] for item in self.items])

    def cases(self, part: Part) -> list[Case]:
        """In the users' order."""
        found = ((user.user, case) for user in self.users if (case := user.case(part)) is not None)
        return [Case(name, known, target, int(self.domain_N[target])) for name, (known, target) in found]

    def with_users(self, users: Iterable[History]) -> Histories:
        return replace(self, users=tuple(users))

    def figures(self) -> dict[str, object]:
        """What a record says of them."""
        learned = [int(self.domain_N[item]) for user in self.users for item in user.training]
        return {
            "users": len(self.users),
            "items": {domain: len(places) for domain, places in zip(self.domains, self.places, strict=True)},
            "training_events": len(learned),
            "share_of_second_domain": round(sum(learned) / max(len(learned), 1), 4),
            "targets": {part: len(self.cases(part)) for part in ("valid", "test")},
        }

    def save(self, folder: Path) -> None:
        (folder / "items.jsonl").write_text(lines(vars(item) for item in self.items), encoding="utf-8")
        (folder / "histories.jsonl").write_text(lines(vars(user) for user in self.users), encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> Histories:
        """Of a folder that a step of ours published."""

        def history(user: str, items: list[int], split: Split, inserted: Sequence[list[int]] = ()) -> History:
            entries = tuple(Insertion(*entry) for entry in inserted)
            return History(user=user, items=tuple(items), split=split, inserted=entries)

        users = [history(**row) for row in read_rows(folder / "histories.jsonl")]
        return cls(tuple(Item(**row) for row in read_rows(folder / "items.jsonl")), tuple(users))


def places_of(domain_N: np.ndarray) -> list[np.ndarray]:
    """Per domain the indices of its items."""
    return [np.flatnonzero(domain_N == domain) for domain in range(int(domain_N.max()) + 1)]


def of_domain(items: Sequence[int], domain_N: np.ndarray, domain: int) -> list[int]:
    """Those of the items that are of this domain, in their order."""
    return [item for item in items if domain_N[item] == domain]
