"""Histories from files: titled items with id lists, JSONL with times, or RecBole's atomic files. Every row is checked.

What a file says is data of others: ids that are not in the catalogue, items without a title and lines that are no row
are refused with their place; what cannot be used but does no harm (a user with one event) is set aside and counted.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from reasoning_pipeline.data.rows import jsonl_rows
from reasoning_pipeline.errors import DataError
from reasoning_pipeline.workflows.recommendation.histories import Histories, History, Item, Split
from reasoning_pipeline.workflows.recommendation.in_recipe import TITLED

LONGEST_TITLE, LONGEST_LINE, MOST_EVENTS = 1_000, 1_000_000, 10_000
"""Characters, characters, events of one user: more is a damaged file."""
AN_ITEM = '{"id": …, "domain": …, "title": …}'
LEAST_ITEMS = 20
"""A domain with fewer has nothing to rank among."""


@dataclass
class Found:
    """What a reader found, in the file's own ids."""

    items: dict[str, Item] = field(default_factory=dict)
    users: list[tuple[str, list[str], Split]] = field(default_factory=list)
    set_aside: Counter[str] = field(default_factory=Counter)

    def add_item(self, place: str, name: Any, domain: Any, title: Any) -> None:
        if name is None or name == "":
            raise DataError(f"{place}: an item without an id", remedy="histories name items by their ids")
        text = " ".join(str(title or "").split())[:LONGEST_TITLE]
        if not text:
            raise DataError(f"{place}: the item {name} has no title", remedy="give it one, or drop the item's rows")
        if not domain:
            raise DataError(f"{place}: the item {name} has no domain", remedy="say which of the two it belongs to")
        if str(name) in self.items:
            raise DataError(f"{place}: the item {name} stands there twice", remedy="make the ids unique")
        self.items[str(name)] = Item(id=str(name), domain=str(domain), title=text)

    def add_user(self, place: str, user: str, items: list[str], split: Split) -> None:
        if (unknown := next((item for item in items if item not in self.items), None)) is not None:
            raise DataError(
                f"{place}: the user {user} took the item {unknown!r}, which the catalogue does not have",
                remedy="add it to the items, or drop it from the history",
            )
        if len(items) > MOST_EVENTS:
            raise DataError(f"{place}: the user {user} has {len(items):,} events, more than {MOST_EVENTS:,}")
        if len(items) < 2:
            self.set_aside["users with one event, which foretells nothing"] += 1
        else:
            self.users.append((user, items, split))


def read_titled(files: dict[str, str], *, split: str, single_domain: bool) -> Found:
    """`items` (JSONL of id, domain, title) and lines `user<TAB>id,id,…` in time order.

    Args:
        files: `items` and any of TITLED.
        split: `leave_one_out` of the users in `overlap`; or `held_out`, those in `valid` and `test`.
        single_domain: Whether users of one domain are learned from too.
    """
    found = Found()
    for place, row in jsonl_rows(Path(files["items"]), one="item", like=AN_ITEM):
        found.add_item(place, row.get("id"), row.get("domain"), row.get("title"))
    held = split == "held_out"
    for name in ("overlap", *(("A", "B") if single_domain else ()), *(("valid", "test") if held else ())):
        if name not in files:
            raise DataError(f"no file {TITLED[name]}", remedy=f"split: {split} needs it beside the items")
        part: Split = name if name in ("valid", "test") else "train"
        for place, line in _lines(Path(files[name])):
            user, tab, items = line.partition("\t")
            if not tab:
                raise DataError(f"{place}: expected user<TAB>id,id,… (got {line[:60]!r})")
            whole: Split = "leave_one_out" if name == "overlap" and not held else part
            found.add_user(place, f"{name}/{user}", [item.strip() for item in items.split(",")], whole)
    return found


def read_timed(files: dict[str, str], *, split: str) -> Found:
    """`histories`: JSONL of user, events [[item, domain, seconds], …] and, for `held_out`, split (train, valid, test);
    `items`: JSONL of id or asin, domain, title."""
    found = Found()
    for place, row in jsonl_rows(Path(files["items"]), one="item", like=AN_ITEM):
        found.add_item(place, row.get("asin", row.get("id")), row.get("domain"), row.get("title"))
    for place, row in jsonl_rows(Path(files["histories"]), one="user", like='{"user": …, "events": […]}'):
        events = row.get("events")
        if not isinstance(events, list) or not all(isinstance(e, list) and len(e) == 3 for e in events):
            raise DataError(f"{place}: expected events [[item, domain, seconds], …]")
        if row.get("user") in (None, ""):
            raise DataError(f"{place}: events of nobody", remedy="say whose they are: `user`")
        for item, _, when in events:
            if isinstance(when, bool) or not isinstance(when, int | float) or not math.isfinite(when):
                raise DataError(f"{place}: the time of {item!r} is {when!r}", remedy="histories need an order: seconds")
        items = [str(item) for item, _, _ in sorted(events, key=lambda event: float(event[2]))]
        known = [item for item in items if item in found.items]
        found.set_aside["events of items without a title"] += len(items) - len(known)
        part = row.get("split") if split == "held_out" else "leave_one_out"
        if part not in ("leave_one_out", "train", "valid", "test"):
            raise DataError(f"{place}: split {part!r} is none of train, valid, test")
        found.add_user(place, str(row.get("user")), known, part)  # type: ignore[arg-type]
    return found


def read_recbole(files: dict[str, str]) -> Found:
    """RecBole's atomic files: NAME.inter and NAME.item of each of two domains, under their domain's name as
    `inter_A`, `item_A`, `inter_B`, `item_B`. Users of one name are one user."""
    found = Found()
    events: dict[str, list[tuple[float, str]]] = {}
    for domain in sorted(name.removeprefix("item_") for name in files if name.startswith("item_")):
        for place, row in _atomic(Path(files[f"item_{domain}"])):
            name = row.get("item_id")
            found.add_item(place, name and f"{domain}/{name}", domain, row.get("title", row.get("item_name")))
        for place, row in _atomic(Path(files[f"inter_{domain}"])):
            try:
                when = float(row.get("timestamp", ""))
            except ValueError:
                when = math.nan
            if not math.isfinite(when):
                raise DataError(f"{place}: no timestamp", remedy="histories need an order")
            events.setdefault(str(row.get("user_id")), []).append((when, f"{domain}/{row.get('item_id')}"))
    for user, taken in events.items():
        found.add_user("interactions", user, [item for _, item in sorted(taken)], "leave_one_out")
    return found


def finished(found: Found, *, user_core: int, item_core: int) -> Histories:
    """Core-filtered histories over the items that are left.

    Repeatedly drops items taken fewer than `item_core` times and users with fewer than `user_core` events (0 is off),
    and what is then too short to foretell anything. Items nobody takes stay where `item_core` is 0: they can be ranked.

    Raises:
        DataError: Not two domains, or a domain with too few items, or no user left.
    """
    users, kept = found.users, set(found.items)
    while True:
        taken = Counter(item for _, items, _ in users for item in items)
        kept = {item for item in kept if taken[item] >= item_core}
        left = [(user, [item for item in items if item in kept], split) for user, items, split in users]
        left = [entry for entry in left if len(entry[1]) >= max(user_core, 2)]
        if left == users:
            break
        users = left
    domains = Counter(found.items[item].domain for item in kept)
    if len(domains) != 2:
        raise DataError(f"{len(domains)} domains ({', '.join(sorted(domains)) or 'none'}) are left; two are needed")
    for domain, count in sorted(domains.items()):
        if count < LEAST_ITEMS:
            raise DataError(
                f"the domain {domain} has {count} items; at least {LEAST_ITEMS} are needed to rank among",
                remedy="give more items, or lower the core filters",
            )
    if not users:
        raise DataError("no user has enough events", remedy="lower user_core, or give longer histories")
    order = [item for item in found.items if item in kept]
    index = {item: number for number, item in enumerate(order)}
    shortened = [
        History(
            user=user,
            items=tuple(index[item] for item in items),
            # Of two events nothing is left to learn from once both targets are taken away.
            split="train" if split == "leave_one_out" and len(items) < 3 else split,
        )
        for user, items, split in users
    ]
    return Histories(tuple(found.items[item] for item in order), tuple(shortened))


def _lines(path: Path) -> Iterator[tuple[str, str]]:
    with path.open(encoding="utf-8-sig", errors="replace", newline="\n") as file:
        for number, line in enumerate(iter(partial(file.readline, LONGEST_LINE + 1), ""), start=1):
            if len(line) > LONGEST_LINE:
                raise DataError(f"{path}:{number}: longer than {LONGEST_LINE:,} characters")
            if line.strip():
                yield f"{path}:{number}", line.strip("\r\n")


def _atomic(path: Path) -> Iterator[tuple[str, dict[str, str]]]:
    """Tab-separated rows under a header of `name:type`."""
    rows = _lines(path)
    names = [name.partition(":")[0] for name in next(rows, ("", ""))[1].split("\t")]
    for place, line in rows:
        values = line.split("\t")
        if len(values) != len(names):
            raise DataError(f"{place}: {len(values)} columns, the header has {len(names)}")
        yield place, dict(zip(names, values, strict=True))
