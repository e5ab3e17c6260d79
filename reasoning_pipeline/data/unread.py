"""Planning where the data is not: a laptop or a login node without the hub's data sets still shows the graph.

`plan` and `doctor` download nothing. A hub data set that is not in this machine's cache is replaced by as many unknown
problems as the recipe's `count` allows; everything made from it gets a fingerprint that no artifact has, so nothing can
seem complete. `run` reads the data itself, or says why it cannot.
"""

from __future__ import annotations

from fractions import Fraction
from typing import Any

from reasoning_pipeline.base.hub import cache_folder, is_commit, prepared_folder
from reasoning_pipeline.data.config import DataConfig
from reasoning_pipeline.data.pools import DataSet, DataSource, Pools
from reasoning_pipeline.data.sources import LoadedData
from reasoning_pipeline.errors import DataError
from reasoning_pipeline.records import Problem


class SketchedPools(Pools):
    """Pools that hold unknown problems where a hub data set cannot be read; `not_read` says which, and why."""

    def __init__(self, source: DataSource, seed: int, siblings: dict[Any, Any] | None = None) -> None:
        super().__init__(source, seed, siblings)
        self.not_read = self._kept.setdefault("not read", {})

    def set(self, name: str) -> DataSet:
        config = self.source.data[name]
        if config.source == "hub" and name not in self.not_read:
            if not in_cache(config):
                self.not_read[name] = f"{config.id} is not in this machine's cache of data sets"
            else:
                try:
                    return super().set(name)
                except DataError as error:
                    self.not_read[name] = error.message
        if name not in self.not_read:
            return super().set(name)
        key = ("sketched", name)
        if key not in self._kept:
            self._kept[key] = _unknown_problems(name, config)
        found: DataSet = self._kept[key]
        return found


def in_cache(config: DataConfig) -> bool:
    """Whether the hub's clients have this data set on disk, at its commit where it has one. Looks at names only."""
    assert config.id is not None
    prepared, fetched = prepared_folder(config.id), cache_folder(config.id, "dataset")
    if config.revision is not None and is_commit(config.revision):
        return any(prepared.glob(f"*/*/{config.revision}")) or (fetched / "snapshots" / config.revision).is_dir()
    return prepared.is_dir() or fetched.is_dir()


def _unknown_problems(name: str, config: DataConfig) -> DataSet:
    problems = [Problem(id=f"not-read/{name}/{number}", question="", answer="") for number in range(config.count or 0)]
    pools: dict[str, list[Problem]] = {}
    start = Fraction(0)
    for pool, share in config.pools.items():
        end = start + (share if isinstance(share, Fraction) else 0)  # what a file lists is not known either
        pools[pool] = problems[round(start * len(problems)) : round(end * len(problems))]
        start = end
    return DataSet(loaded=LoadedData(problems=problems), problems=problems, pools=pools)
