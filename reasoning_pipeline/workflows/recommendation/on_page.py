"""What recommendation recipes have on the page: every arm by ranking and domain, and a few users with their lists."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from reasoning_pipeline.base.files import shipped
from reasoning_pipeline.plan.graph import Plan, PlannedArm, PlannedStep
from reasoning_pipeline.recipe.model import MAIN
from reasoning_pipeline.report.answers import read_rows
from reasoning_pipeline.report.parts import PagePart, PageSection, Table

if TYPE_CHECKING:
    from reasoning_pipeline.statistics.over_seeds import Crossed

WITHOUT = "plain"
"""The arm whose lists stand beside the main arm's, where the recipe has it."""
MEASURES = {"mean": "hr@k", "ndcg": "ndcg@k"}
"""Column of problems.csv -> what it is called."""
COLUMNS = (
    *("ranking", "domain", "measure", "arm", "mean", "low", "high", "users", "seeds"),
    *("difference", "d_low", "d_high", "p"),
)


@dataclass(frozen=True, kw_only=True)
class Line:
    """One arm on one ranking, one domain, by one measure."""

    ranking: str
    domain: str
    measure: str
    arm: str
    found: Crossed
    difference: Crossed | None
    """To the main arm, paired by user, over the seeds that both have."""


def lines_of(plan: Plan) -> list[Line]:
    """Of every arm that has been ranked, the main arm first; `all` domains first."""
    from reasoning_pipeline.statistics.over_seeds import crossed_difference, crossed_mean

    arms = list(dict.fromkeys(arm.name for arm in plan.arms))
    scores = {(arm.name, arm.seed): table for arm in plan.arms if (table := _ranked(plan, arm)) is not None}
    keys = dict.fromkeys(key for table in scores.values() for key in table)
    found = []
    for key in keys:
        for arm in arms:
            seeds = [seed for seed in plan.seeds if (arm, seed) in scores]
            mean = crossed_mean([scores[arm, seed][key] for seed in seeds])
            both = [seed for seed in seeds if (MAIN, seed) in scores] if arm != MAIN else []
            pair = crossed_difference(*([scores[name, seed][key] for seed in both] for name in (arm, MAIN)))
            if mean is not None:
                ranking, domain, measure = key
                found.append(
                    Line(ranking=ranking, domain=domain, measure=measure, arm=arm, found=mean, difference=pair)
                )
    return found


Scores = dict[tuple[str, str, str], dict[str, float]]
"""(ranking, domain, measure) -> user -> value."""


def _ranked(plan: Plan, arm: PlannedArm) -> Scores | None:
    step = plan.step(arm.evaluation) if arm.evaluation is not None else None
    if step is None or step.artifact is None or step.config.stage != "rank_items":
        return None
    return _read(step.artifact.folder, tuple(getattr(step.config, "suites", ())))


@cache
def _read(folder: Path, rankings: tuple[str, ...]) -> Scores:
    found: Scores = {}
    for ranking in rankings:
        with (folder / ranking / "problems.csv").open(encoding="utf-8", newline="") as file:
            for row in csv.DictReader(file):
                for column, measure in MEASURES.items():
                    for domain in ("all", row["domain"]):
                        found.setdefault((ranking, domain, measure), {})[row["problem"]] = float(row[column])
    return found


class RecommendationPart(PagePart):
    templates: ClassVar[Path | None] = shipped("reasoning_pipeline.workflows.recommendation", "templates")

    def sections(self, plan: Plan) -> Iterator[PageSection]:
        if users := _users(plan):
            yield PageSection(anchor="users", title="Users", template="recommendation.html.j2", content=users)

    def tables(self, plan: Plan) -> Iterator[Table]:
        if rows := tuple(_row(line) for line in lines_of(plan)):
            yield Table(name="ranking", columns=COLUMNS, rows=rows)


def _row(line: Line) -> dict[str, object]:
    found, pair = line.found, line.difference
    paired = (pair.mean, pair.low, pair.high, pair.p) if pair is not None else (None,) * 4
    spread = (found.mean, found.low, found.high, found.problems, found.seeds)
    values = (line.ranking, line.domain, line.measure, line.arm, *spread, *paired)
    return dict(zip(COLUMNS, values, strict=True))


def _users(plan: Plan) -> list[dict[str, Any]]:
    """The users that every ranking shows, with what was put into their history and their profile."""
    steps = {arm.name: plan.step(arm.evaluation) for arm in reversed(plan.arms) if arm.evaluation is not None}
    with_, without = _shown(steps.get(MAIN)), {row["user"]: row for row in _shown(steps.get(WITHOUT))}
    main = next((arm for arm in plan.arms if arm.name == MAIN), None)
    if main is None or not with_:
        return []
    names = {row["user"] for row in with_}
    own = [plan.step(name) for name in main.steps.values()]
    inserted = _of_users(own, "augment_histories", "proposals.jsonl", names)
    profiles = _of_users(own, "profile_users", "profiles.jsonl", names)
    return [
        {
            **row,
            "inserted": [p for p in inserted.get(row["user"], ()) if p.get("kept")],
            "profile": next((p["profile"] for p in profiles.get(row["user"], ())), ""),
            "without": without.get(row["user"], {}).get("top", []),
        }
        for row in with_
    ]


def _shown(step: PlannedStep | None) -> list[dict[str, Any]]:
    path = step.artifact.folder / "shown.json" if step is not None and step.artifact is not None else None
    if path is None or not path.is_file():
        return []
    found: list[dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))
    return found


def _of_users(steps: list[PlannedStep], stage: str, file: str, names: set[str]) -> dict[str, list[dict[str, Any]]]:
    found: dict[str, list[dict[str, Any]]] = {}
    for step in steps:
        if step.config.stage == stage and step.artifact is not None:
            for row in read_rows(step.artifact.folder / file):
                if row.get("user") in names:
                    found.setdefault(row["user"], []).append(row)
    return found


CONTRIBUTES = (RecommendationPart(),)
