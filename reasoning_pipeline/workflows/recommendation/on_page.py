"""What recommendation recipes have on the page: every arm by ranking and domain, and a few users with their lists."""

from __future__ import annotations

import csv
import json
from collections import defaultdict
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import Any, ClassVar

from reasoning_pipeline.base.files import shipped
from reasoning_pipeline.plan.graph import Plan, PlannedArm, PlannedStep
from reasoning_pipeline.recipe.model import MAIN
from reasoning_pipeline.report.answers import read_rows
from reasoning_pipeline.report.arms.outcomes import compared
from reasoning_pipeline.report.parts import PagePart, PageSection, Table

WITHOUT = "plain"
"""The arm whose lists stand beside the main arm's, where the recipe has it."""
MEASURES = {"mean": "hr@k", "ndcg": "ndcg@k"}
"""Column of problems.csv -> what it is called."""
COLUMNS = (
    *("ranking", "domain", "measure", "arm", "mean", "low", "high", "users", "seeds"),
    *("difference", "d_low", "d_high", "p"),
)
Row = dict[str, Any]


class RecommendationPart(PagePart):
    templates: ClassVar[Path | None] = shipped("reasoning_pipeline.workflows.recommendation", "templates")

    def sections(self, plan: Plan) -> Iterator[PageSection]:
        if users := _users(plan):
            yield PageSection(anchor="users", title="Users", template="recommendation.html.j2", content=users)

    def tables(self, plan: Plan) -> Iterator[Table]:
        if rows := tuple(_ranked(plan)):
            yield Table(name="ranking", columns=COLUMNS, rows=rows)


def _ranked(plan: Plan) -> Iterator[Row]:
    """One arm on one ranking, one domain, by one measure, with its difference to the main arm, paired by user over the
    seeds that both have. The main arm comes first, and so do `all` domains."""
    scores = {(arm.name, arm.seed): table for arm in plan.arms if (table := _scores(plan, arm))}
    for key in dict.fromkeys(key for table in scores.values() for key in table):
        for arm in dict.fromkeys(arm.name for arm in plan.arms):
            found, pair = compared(scores, arm, key)
            if found is not None:
                spread = (found.mean, found.low, found.high, found.problems, found.seeds)
                paired = (None,) * 4 if pair is None else (pair.mean, pair.low, pair.high, pair.p)
                yield dict(zip(COLUMNS, (*key, arm, *spread, *paired), strict=True))


Scores = dict[tuple[str, str, str], dict[str, float]]
"""(ranking, domain, measure) -> user -> value."""


def _scores(plan: Plan, arm: PlannedArm) -> Scores:
    step = plan.step(arm.evaluation) if arm.evaluation is not None else None
    if step is None or step.artifact is None or step.config.stage != "rank_items":
        return {}
    return _read(step.artifact.folder, tuple(getattr(step.config, "suites", ())))


@cache
def _read(folder: Path, rankings: tuple[str, ...]) -> Scores:
    found: Scores = defaultdict(dict)
    for ranking in rankings:
        with (folder / ranking / "problems.csv").open(encoding="utf-8", newline="") as file:
            for row in csv.DictReader(file):
                for column, measure in MEASURES.items():
                    for domain in ("all", row["domain"]):
                        found[ranking, domain, measure][row["problem"]] = float(row[column])
    return found


def _users(plan: Plan) -> list[Row]:
    """The users that every ranking shows, with what was put into their history and their profile."""
    arms = {arm.name: arm for arm in reversed(plan.arms)}
    shown, without = _shown(plan, arms.get(MAIN)), {row["user"]: row for row in _shown(plan, arms.get(WITHOUT))}
    if not shown:
        return []
    own = [plan.step(name) for name in arms[MAIN].steps.values()]
    inserted = _by_user(own, "augment_histories", "proposals.jsonl")
    profiles = _by_user(own, "profile_users", "profiles.jsonl")
    return [
        {
            **row,
            "inserted": [proposal for proposal in inserted[row["user"]] if proposal.get("kept")],
            "profile": next((profile["profile"] for profile in profiles[row["user"]]), ""),
            "without": without.get(row["user"], {}).get("top", []),
        }
        for row in shown
    ]


def _shown(plan: Plan, arm: PlannedArm | None) -> list[Row]:
    artifact = plan.step(arm.evaluation).artifact if arm is not None and arm.evaluation is not None else None
    if artifact is None or not (artifact.folder / "shown.json").is_file():
        return []
    found: list[Row] = json.loads((artifact.folder / "shown.json").read_text(encoding="utf-8"))
    return found


def _by_user(steps: Iterable[PlannedStep], stage: str, file: str) -> dict[Any, list[Row]]:
    found: dict[Any, list[Row]] = defaultdict(list)
    for step in steps:
        if step.config.stage == stage and step.artifact is not None:
            for row in read_rows(step.artifact.folder / file):
                found[row.get("user")].append(row)
    return found


CONTRIBUTES = (RecommendationPart(),)
