"""Data sets, loaded once and divided into pools: which problems belong to which pool, and which were left out.

A pool is a share or a file of ids. What files name is taken first; the rest is ordered by a stable hash of the ids and
cut at the shares, so that pools never overlap, hold exactly their share (3/4 of 1,024 is 768), and do not depend on the
order of the rows. Adding a row shifts the cuts: a few problems next to a cut then move to the neighbouring pool, never
further.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any, Self

from reasoning_pipeline.base.fingerprint import digest
from reasoning_pipeline.base.validation import suggestion
from reasoning_pipeline.data.config import DataConfig, IdsFile
from reasoning_pipeline.data.overlap import Overlap, find_overlaps
from reasoning_pipeline.data.sources import LoadedData, load_data, stable_hash
from reasoning_pipeline.data.suites.loading import suite_problems
from reasoning_pipeline.data.suites.spec import located, spec_or_own
from reasoning_pipeline.data.worlds import WORLDS
from reasoning_pipeline.errors import DataError
from reasoning_pipeline.records import Problem


@dataclass(frozen=True, kw_only=True)
class DataSet:
    """One data set without what stands in a benchmark, and its pools."""

    loaded: LoadedData
    problems: list[Problem]
    overlaps: dict[str, list[Overlap]] = field(default_factory=dict)
    """Suite -> overlaps for which problems were left out."""
    unknown: dict[str, str] = field(default_factory=dict)
    """Suite -> why nobody can say which of these problems stand in it."""
    pools: dict[str, list[Problem]] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class DataSource:
    """What data sets and pools follow from: a recipe's words about them, and nothing else of it."""

    data: dict[str, DataConfig]
    folder: Path
    """Where relative paths start."""
    benchmarks: dict[str, str | None]
    """Suite -> its local file: what must not be trained on."""


class Pools:
    """Loads each data set once, for every arm and, where a seed does not decide the problems, for every seed."""

    def __init__(self, source: DataSource, seed: int, siblings: dict[Any, Any] | None = None) -> None:
        self.source, self.seed = source, seed
        self._kept: dict[Any, Any] = {} if siblings is None else siblings
        self.not_read: dict[str, str] = {}
        """Data set -> why it stands in as unknown problems; empty where everything is read (unread.py)."""
        self._owner = {pool: name for name, config in source.data.items() for pool in config.pools}

    def for_seed(self, seed: int) -> Self:
        """The same data under another seed; what does not depend on it is shared."""
        return type(self)(self.source, seed, self._kept)

    def set(self, name: str) -> DataSet:
        """One data set with its pools. Raises DataError."""
        key = ("set", name, self.seed if self.source.data[name].varies_with_seed else None)
        if key not in self._kept:
            self._kept[key] = _load(self.source, name, self.seed)
        found: DataSet = self._kept[key]
        return found

    def pool(self, name: str) -> list[Problem]:
        """The problems of one pool, in stable order."""
        return self.set(self._owner[name]).pools[name]

    def problems(self, pools: tuple[str, ...]) -> list[Problem]:
        """The problems of several pools together."""
        return [problem for pool in pools for problem in self.pool(pool)]

    def digest(self, pools: tuple[str, ...]) -> str:
        """Identity of the problems in these pools: ids, questions, answers and kept columns, in order."""

        def said() -> list[list[str]]:
            keep = {pool: self.source.data[self._owner[pool]].keep for pool in pools}
            problems = ((pool, problem) for pool in pools for problem in self.pool(pool))
            return [[p.id, p.question, p.answer, *_chat(p), *_kept(p, keep[pool])] for pool, p in problems]

        return self._once("digest", pools, lambda: digest(said()))

    def questions_digest(self, name: str) -> str:
        """Identity of a data set whose answers nobody reads."""

        def said() -> list[list[str]]:
            return [[p.id, p.question, *_chat(p)] for p in self.set(name).problems]

        return self._once("questions", name, lambda: digest(said()))

    def _once(self, what: str, of: Any, compute: Any) -> str:
        names = [self._owner[pool] for pool in of] if isinstance(of, tuple) else [of]
        varies = any(self.source.data[name].varies_with_seed for name in names)
        key = (what, of, self.seed if varies else None)
        if key not in self._kept:
            self._kept[key] = compute()
        found: str = self._kept[key]
        return found


def _chat(problem: Problem) -> list[str]:
    """What a conversation adds to an identity; nothing for a plain question."""
    return [] if problem.messages is None else [json.dumps(problem.messages)]


def _kept(problem: Problem, keep: Iterable[str]) -> list[str]:
    """What columns that rewards are handed add to an identity; nothing where none is kept."""
    kept = {name: problem.meta.get(name) for name in keep}
    return [json.dumps(kept, sort_keys=True)] if kept else []


def _load(source: DataSource, name: str, seed: int) -> DataSet:
    loaded = load_data(source.data[name], folder=source.folder, seed=seed)
    overlaps, unknown = _overlaps(source, name, loaded.problems)
    out = {overlap.train_id for found in overlaps.values() for overlap in found}
    problems = [problem for problem in loaded.problems if problem.id not in out]
    pools = _divided(source, name, problems, {problem.id for problem in loaded.problems})
    return DataSet(loaded=loaded, problems=problems, overlaps=overlaps, unknown=unknown, pools=pools)


# Benchmarks


def _overlaps(
    source: DataSource, name: str, problems: list[Problem]
) -> tuple[dict[str, list[Overlap]], dict[str, str]]:
    """What must not be trained on, by suite, and the suites that could not be looked at.

    Which suites are looked at follows from the recipe alone and never from what a machine happens to have, since the
    pools, and with them every fingerprint, follow from it: those with a local file; all others too where the training
    data itself comes from the hub. Generated suites share no problem with generated pools by construction.
    """
    config = source.data[name]
    found: dict[str, list[Overlap]] = {}
    unknown: dict[str, str] = {}
    for suite, file in source.benchmarks.items():
        spec, path = (spec_or_own(suite), None) if file is None else located(suite, source.folder / file)
        if config.benchmark_overlap == "keep":
            unknown[suite] = "the recipe says `benchmark_overlap: keep`, so nobody looked"
        elif path is not None or (spec.hub is not None and config.source == "hub"):
            benchmark = [problem for _, problem in suite_problems(suite, spec, path, questions_only=True)]
            found[suite] = _matches(config.benchmark_overlap, problems, benchmark)
        elif spec.hub is not None and config.source not in WORLDS:
            unknown[suite] = f"it comes from the hub; `evaluate.data.{suite}: FILE` names a local copy"
    return found, unknown


def _matches(rule: str, problems: list[Problem], benchmark: list[Problem]) -> list[Overlap]:
    return [overlap for overlap in find_overlaps(problems, benchmark) if rule == "ngram" or overlap.kind == "exact"]


# Pools


def _divided(source: DataSource, name: str, problems: list[Problem], known: set[str]) -> dict[str, Any]:
    place = f"data.{name}.pools"
    taken: dict[str, str] = {}
    pools: dict[str, list[Problem]] = {}
    for pool, share in source.data[name].pools.items():
        if isinstance(share, IdsFile):
            for identity in _ids(source.folder / share.file, f"{place}.{pool}", known):
                if (other := taken.setdefault(identity, pool)) != pool:
                    raise DataError(
                        f"{place}.{pool}: {identity!r} belongs to the pool {other!r} already",
                        remedy="name every problem in one file only; a label cannot be in two pools",
                    )
    ordered = sorted(problems, key=lambda problem: stable_hash("pool/" + problem.id))
    rest = [problem for problem in ordered if problem.id not in taken]
    start = Fraction(0)
    for pool, share in source.data[name].pools.items():
        if isinstance(share, IdsFile):
            pools[pool] = [problem for problem in ordered if taken.get(problem.id) == pool]
        else:
            pools[pool] = rest[round(start * len(rest)) : round((start + share) * len(rest))]
            start += share
        if not pools[pool]:
            what = share.file if isinstance(share, IdsFile) else f"{share} of {len(rest):,} problems"
            raise DataError(
                f"{place}.{pool}: {what} is none at all",
                remedy="give the pool a larger share, or the data set more problems",
            )
    return pools


def _ids(path: Path, place: str, known: set[str]) -> list[str]:
    """The ids a file lists. One that the data set does not have is a mistake; one that was left out is none."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8 text"
        raise DataError(f"{place}: {path.name}: {reason}", remedy="give a text file, one problem id a line") from None
    for number, line in enumerate(lines, start=1):
        if line.strip() and line.strip() not in known:
            hint = suggestion(line.strip(), sorted(known)[:2000])
            raise DataError(
                f"{place}: {path.name}:{number}: no problem has the id {line.strip()!r}{hint}",
                remedy="list ids as they stand in the data set's id column",
            )
    return [line.strip() for line in lines if line.strip()]
