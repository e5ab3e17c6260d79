"""Who took what, in which order: the records that every stage of this workflow reads, and their folder on disk."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np

from reasoning_pipeline.base.fingerprint import digest
from reasoning_pipeline.base.jsonl import lines, read_rows

Split = Literal["leave_one_out", "train", "valid", "test"]
"""`leave_one_out`: the last item is the test target, the one before it the validation target, the rest is learned from.
`train`: all is learned from. `valid`, `test`: a user held out, whose last item is the target."""

Part = Literal["valid", "test"]


@dataclass(frozen=True, kw_only=True)
class Item:
    """Example: Item(id="B000BIZT3E", domain="A", title="Enfamil Prosobee Soy Infant Formula Powder")"""

    id: str
    domain: str
    title: str


@dataclass(frozen=True, kw_only=True)
class Insertion:
    """An item put into a history, behind the first `after` real items."""

    after: int
    item: int


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
        woven: list[int] = []
        for place in range(len(self.learned) + 1):
            woven += [entry.item for entry in self.inserted if entry.after == place]
            woven += self.learned[place : place + 1]
        return tuple(woven)

    def case(self, part: Part) -> tuple[tuple[int, ...], int] | None:
        """(what is known, the item to be foretold); None where this user has none. Real items alone."""
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
        order = {domain: number for number, domain in enumerate(self.domains)}
        return np.array([order[item.domain] for item in self.items])

    @cached_property
    def places(self) -> list[np.ndarray]:
        """Per domain the indices of its items."""
        return [np.flatnonzero(self.domain_N == domain) for domain in range(len(self.domains))]

    @cached_property
    def counts_N(self) -> np.ndarray:  # noqa: N802
        """[items]: how often each is taken in what may be learned from; popularity, without what was inserted."""
        taken = [item for user in self.users for item in user.learned]
        return np.bincount(np.array(taken, int), minlength=len(self.items))

    @property
    def items_digest(self) -> str:
        """Of the catalogue: what was computed for one catalogue must not meet another."""
        return digest([[item.id, item.domain, item.title] for item in self.items])

    def cases(self, part: Part) -> Iterator[tuple[History, tuple[int, ...], int]]:
        for user in self.users:
            if (case := user.case(part)) is not None:
                yield user, *case

    def with_users(self, users: Iterable[History]) -> Histories:
        return replace(self, users=tuple(users))

    def save(self, folder: Path) -> None:
        rows = [
            {"user": user.user, "split": user.split, "items": user.items}
            | ({"inserted": [[entry.after, entry.item] for entry in user.inserted]} if user.inserted else {})
            for user in self.users
        ]
        (folder / "items.jsonl").write_text(lines(vars(item) for item in self.items), encoding="utf-8")
        (folder / "histories.jsonl").write_text(lines(rows), encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> Histories:
        """Of a folder that a step of ours published."""
        users = [
            History(
                user=row["user"],
                items=tuple(row["items"]),
                split=row["split"],
                inserted=tuple(Insertion(after=after, item=item) for after, item in row.get("inserted", ())),
            )
            for row in read_rows(folder / "histories.jsonl")
        ]
        return cls(tuple(Item(**row) for row in read_rows(folder / "items.jsonl")), tuple(users))


def of_domain(items: Sequence[int], domain_N: np.ndarray, domain: int) -> list[int]:
    """Those of the items that are of this domain, in their order."""
    return [item for item in items if domain_N[item] == domain]
