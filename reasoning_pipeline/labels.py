"""Pools of labels: which problems belong to which pool, who spends them, and what a lineage has spent.

A data set's problems are ordered by a stable hash of their ids and cut at the pools' shares, so that pools never
overlap, hold exactly their share (3/4 of 1,024 is 768), and do not depend on the order of the rows. Adding a row
shifts the cuts: a few problems next to a cut then move to the neighbouring pool, never further. Spending is checked
when a recipe is read (recipe.py); this module counts it.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from reasoning_pipeline.data.overlap import Overlap, find_overlaps
from reasoning_pipeline.data.sources import load_problems, read_questions, stable_hash
from reasoning_pipeline.errors import DataError
from reasoning_pipeline.recipe import Recipe, lineage
from reasoning_pipeline.records import Problem
from reasoning_pipeline.registry.fingerprint import digest
from reasoning_pipeline.stage import Spends


@dataclass(frozen=True)
class Spend:
    """Labels one step used.

    Example:
        Spend(step="teacher_rl", pool="first", labels=768, replay=False)
    """

    step: str
    pool: str
    labels: int
    replay: bool


class Ledger:
    """Loads each data set once and answers what its pools hold."""

    def __init__(self, recipe: Recipe) -> None:
        self.recipe = recipe
        self._data: dict[str, list[Problem]] = {}
        self._pools: dict[str, list[Problem]] = {}
        self.left_out: dict[str, dict[str, list[Overlap]]] = {}
        """Data set -> suite -> overlaps for which training problems were left out."""

    def data(self, name: str) -> list[Problem]:
        """The problems of a data set that stand in no benchmark of the recipe."""
        if name not in self._data:
            folder = Path(self.recipe.path).resolve().parent
            problems = load_problems(self.recipe.data[name], folder=folder, seed=self.recipe.seed)
            self._data[name] = self._without_benchmarks(name, problems, folder)
        return self._data[name]

    def _without_benchmarks(self, name: str, problems: list[Problem], folder: Path) -> list[Problem]:
        rule = self.recipe.data[name].benchmark_overlap
        files = self.recipe.evaluate.data if self.recipe.evaluate is not None else {}
        found: dict[str, list[Overlap]] = {}
        for suite, path in files.items() if rule != "keep" else ():
            overlaps = find_overlaps(problems, read_questions(folder / path))
            found[suite] = [overlap for overlap in overlaps if rule == "ngram" or overlap.kind == "exact"]
        self.left_out[name] = found
        out = {overlap.train_id for overlaps in found.values() for overlap in overlaps}
        return [problem for problem in problems if problem.id not in out]

    def pool(self, name: str) -> list[Problem]:
        """The problems of one pool, in stable order."""
        if name not in self._pools:
            data = self.recipe.pools()[name]
            self._divide(data)
        return self._pools[name]

    def problems(self, pools: tuple[str, ...]) -> list[Problem]:
        """The problems of several pools together."""
        return [problem for pool in pools for problem in self.pool(pool)]

    def digest(self, pools: tuple[str, ...]) -> str:
        """Identity of the problems in these pools: ids, questions and answers, in order."""
        return digest([[p.id, p.question, p.answer] for p in self.problems(pools)])

    def _divide(self, data: str) -> None:
        problems = sorted(self.data(data), key=lambda problem: stable_hash("pool/" + problem.id))
        start = Fraction(0)
        for pool, share in self.recipe.data[data].pools.items():
            end = start + share
            self._pools[pool] = problems[round(start * len(problems)) : round(end * len(problems))]
            if not self._pools[pool]:
                raise DataError(
                    f"data.{data}.pools.{pool}: {share} of {len(problems):,} problems is none at all",
                    remedy="give the pool a larger share, or the data set more problems",
                )
            start = end

    def spent_by(self, step: str) -> list[Spend]:
        """What this step alone spends."""
        replay = bool(getattr(self.recipe.steps[step], "replay", False))
        return [
            Spend(step=step, pool=pool, labels=len(self.pool(pool)), replay=replay)
            for pool in self.recipe.pools_of(step, Spends)
        ]

    def spent_by_lineage(self, step: str) -> list[Spend]:
        """What this step and everything it comes from have spent, oldest first."""
        return [spend for name in (*lineage(self.recipe, step), step) for spend in self.spent_by(name)]


def distinct_labels(spends: list[Spend]) -> int:
    """Labels bought: a pool counts once, however often it is replayed."""
    return sum({spend.pool: spend.labels for spend in spends}.values())
