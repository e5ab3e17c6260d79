"""Which commit of a hub model or data set a recipe uses: found once, kept in ROOT/RECIPE/hub.json, used ever after.

A branch moves, for an edited README too; a recipe does not move with it. Its first plan on a machine that has the model
writes down the commit that the branch meant, and every later plan, step, evaluation and fetch takes that one, until
somebody asks to follow. What a person names by its commit needs no line here.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from reasoning_pipeline.base.files import write_json
from reasoning_pipeline.base.hub import MAIN, Kind, cached_commit, differing_files, is_commit, latest_commit, refusal
from reasoning_pipeline.beside import PIPELINE
from reasoning_pipeline.data.config import DataConfig
from reasoning_pipeline.errors import RegistryError
from reasoning_pipeline.models.outside import MODEL_FILES

FILE = "hub.json"
SHOWN_DIGITS = 12
SHOWN_FILES = 4


@dataclass(frozen=True)
class Pin:
    """The commit that a name means in one recipe.

    Example:
        Pin(commit="c1899de2…", revision="main", since="2026-11-28T16:03:11+00:00")
    """

    commit: str
    revision: str
    since: str
    same: tuple[str, ...] = ()
    """Later commits of the branch whose files make the same model: nothing to follow."""
    before: tuple[str, ...] = ()
    """What the recipe used until it followed."""


@dataclass(frozen=True)
class Moved:
    """A branch that means another commit than the recipe uses.

    Example:
        Moved("model", "Qwen/Qwen3-8B", Pin(...), "9a1f…", ("config.json",))
    """

    kind: Kind
    name: str
    pin: Pin
    now: str
    differing: tuple[str, ...] | None
    """Files that make another model; None where that is not known here."""

    @property
    def same(self) -> bool:
        return self.differing == ()

    def told(self, recipe: str) -> str:
        """With what to do about it."""
        return str(self) if self.same else f"{self}; to follow: {follow_command(recipe)}"

    def __str__(self) -> str:
        here, there = self.pin.commit[:SHOWN_DIGITS], self.now[:SHOWN_DIGITS]
        moved = f"{self.name}: {self.pin.revision} moved from {here} to {there} since {self.pin.since[:10]}"
        if self.same:
            return f"{moved}; the files that make the model are the same, so nothing changes"
        files = ", ".join(self.differing[:SHOWN_FILES]) if self.differing else ""
        what = f" ({files}{', …' if len(self.differing or ()) > SHOWN_FILES else ''} differ)" if files else ""
        return f"{moved}{what}; this recipe stays at {here}"


def follow_command(recipe: str) -> str:
    """`recipe` with the options that it was named by."""
    return f"`{PIPELINE} plan {recipe} --follow-hub`"


class Pins:
    """The commits of one recipe's hub models and data sets.

    Args:
        folder: ROOT/RECIPE. None keeps nothing.

    Raises:
        RegistryError: The file is there and cannot be read.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self.path = folder / FILE if folder is not None else None
        self._pins = self._read()
        self._kept = dict(self._pins)
        self._used: set[tuple[Kind, str]] = set()

    def model(self, reference: str) -> str:
        """`name@commit`; the reference itself while nobody knows what its branch means."""
        commit = self._commit("model", reference)
        return f"{reference.partition('@')[0]}@{commit}" if commit is not None else reference

    def data(self, config: DataConfig) -> DataConfig:
        """The same data set, at its commit."""
        if config.source != "hub":
            return config
        reference = f"{config.id}@{config.revision}" if config.revision else str(config.id)
        commit = self._commit("dataset", reference)
        return config.model_copy(update={"revision": commit}) if commit is not None else config

    def _commit(self, kind: Kind, reference: str) -> str | None:
        name, _, revision = reference.partition("@")
        if is_commit(revision):
            return revision
        self._used.add((kind, reference))
        if (kind, reference) not in self._pins:
            commit = cached_commit(name, revision, kind)
            if commit is None:
                return None
            self._pins[kind, reference] = Pin(commit, revision or MAIN, _now())
        return self._pins[kind, reference].commit

    def moved(self, *, ask: bool) -> list[Moved]:
        """Names of this plan whose branch means something else by now.

        Args:
            ask: The hub, else the cache alone. A hub that does not answer says nothing.
        """
        found = []
        for kind, reference in sorted(self._used & self._pins.keys()):
            pin = self._pins[kind, reference]
            now = self._meant_now(kind, reference, ask=ask)
            if now is None or now in (pin.commit, *pin.same, *pin.before):
                continue
            found.append(move := self._move(kind, reference, now, ask=ask))
            if move.same:  # told once
                self._pins[kind, reference] = replace(pin, same=(*pin.same, now))
        self.save()
        return found

    def _meant_now(self, kind: Kind, reference: str, *, ask: bool) -> str | None:
        name, _, revision = reference.partition("@")
        if ask:
            try:
                return latest_commit(name, revision, kind)
            except Exception:  # its client raises many kinds; whoever fetches is told why
                pass
        return cached_commit(name, revision, kind)

    def _move(self, kind: Kind, reference: str, now: str, *, ask: bool) -> Moved:
        pin, name = self._pins[kind, reference], reference.partition("@")[0]
        files = differing_files(name, (pin.commit, now), MODEL_FILES, ask=ask) if kind == "model" else None
        return Moved(kind, reference, pin, now, None if files is None else tuple(files))

    def follow(self) -> list[str]:
        """Take what each branch means now; sentences that say what that changes. A model whose files are the same keeps
        its commit, and with it everything that was made from it."""
        told = []
        for kind, reference in sorted(self._pins):
            name, _, revision = reference.partition("@")
            try:
                pin, now = self._pins[kind, reference], latest_commit(name, revision, kind)
            except Exception as error:  # its client raises many kinds; each means: not known
                what, remedy = refusal(error) or (str(error), None)
                raise RegistryError(f"{reference}: what it means now is not known: {what}", remedy=remedy) from error
            if now is None or now in (pin.commit, *pin.same):
                continue
            move = self._move(kind, reference, now, ask=True)
            if move.same:
                self._pins[kind, reference] = replace(pin, same=(*pin.same, now))
                told.append(str(move))
                continue
            self._pins[kind, reference] = replace(
                pin, commit=now, since=_now(), same=(), before=(*(c for c in pin.before if c != now), pin.commit)
            )
            what = f" ({', '.join(move.differing[:SHOWN_FILES])} differ)" if move.differing else ""
            told.append(f"{reference}: from {pin.commit[:SHOWN_DIGITS]} to {now[:SHOWN_DIGITS]}{what}")
        self.save()
        return told

    def save(self) -> None:
        """Write down what became known. What another process wrote meanwhile stays, and so does this one's plan."""
        if self.path is None or self._pins == self._kept:
            return
        there = self._read()
        changed = {key: pin for key, pin in self._pins.items() if pin != self._kept.get(key)}
        first = {key: pin for key, pin in there.items() if key not in self._kept}
        lines: dict[str, dict[str, Any]] = {}
        for (kind, reference), pin in sorted({**there, **changed, **first}.items()):
            lines.setdefault(f"{kind}s", {})[reference] = {name: value for name, value in asdict(pin).items() if value}
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            write_json(self.path, lines)
        except OSError:  # a root that cannot be written; whoever publishes into it is told
            return
        self._kept = dict(self._pins)

    def _read(self) -> dict[tuple[Kind, str], Pin]:
        try:
            text = self.path.read_text(encoding="utf-8") if self.path is not None else "{}"
            return dict(_entries(json.loads(text)))
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, TypeError, AttributeError) as error:
            raise RegistryError(
                f"{self.path}: cannot be read ({error})",
                remedy="mend it, or remove it: the recipe then takes what each branch means now",
            ) from error


def _entries(values: dict[str, dict[str, dict[str, Any]]]) -> Iterator[tuple[tuple[Kind, str], Pin]]:
    kinds: tuple[Kind, ...] = ("model", "dataset")
    for kind in kinds:
        for reference, entry in values.get(f"{kind}s", {}).items():
            lists = {name: tuple(entry.get(name, ())) for name in ("same", "before")}
            pin = Pin(**{**entry, **lists})
            if not is_commit(pin.commit):
                raise ValueError(f"{reference}: {pin.commit!r} is no commit")
            yield (kind, reference), pin


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
