"""The label account of a plan: arm by arm what each step takes, what the data sets held, and what nobody touched."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from reasoning_pipeline.data.config import IdsFile
from reasoning_pipeline.plan.graph import Plan, PlannedArm
from reasoning_pipeline.registry.record import Spend, distinct_labels


@dataclass(frozen=True, kw_only=True)
class ArmAccount:
    """What the outcome of one arm has behind it.

    Example:
        ArmAccount(arm="replay", seed=0, outcome="replay.polish", entries=(Spend(...), ...), bought=768, uses=1536,
                   measured=(), untouched=("second",))
    """

    arm: str
    seed: int
    outcome: str | None
    entries: tuple[Spend, ...]
    """Oldest first; questions without labels included."""
    bought: int
    """Distinct labels: a replayed pool counts once."""
    uses: int
    """Labels handed to training, replays included."""
    measured: tuple[Spend, ...]
    """Pools whose answers something is scored with on the way (gates); nothing learns from them."""
    untouched: tuple[str, ...]
    """Pools of which the arm reads neither answers nor questions."""


@dataclass(frozen=True, kw_only=True)
class DataAccount:
    """What became of the rows of one data set.

    Example:
        DataAccount(name="dapo", problems=17398, repeated=1774602, conflicts=0, without_answer=0,
                    overlaps={"math500": 12}, unknown={"aime24": "it comes from the hub; …"},
                    pools={"first_half": 8693, "second_half": 8693}, in_no_pool=0)
    """

    name: str
    problems: int
    """Different questions, before those that stand in a benchmark are left out."""
    repeated: int
    """Rows whose question stood there already."""
    conflicts: tuple[dict[str, Any], ...]
    """Questions set aside because their rows disagree about the answer: question, answers, places."""
    without_answer: int
    overlaps: dict[str, int]
    """Suite -> problems left out because they stand in it."""
    unknown: dict[str, str]
    """Suite -> why nobody can say."""
    pools: dict[str, int]
    by_file: tuple[str, ...]
    """Pools that a file lists."""
    in_no_pool: int


@dataclass(frozen=True, kw_only=True)
class Account:
    arms: tuple[ArmAccount, ...]
    data: tuple[DataAccount, ...]
    """Of the first seed."""

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def account(plan: Plan) -> Account:
    """From the plan alone: nothing needs to have run."""
    return Account(
        arms=tuple(_arm(plan, arm) for arm in plan.arms),
        data=tuple(_data(plan, name) for name in plan.recipe.data),
    )


def _arm(plan: Plan, arm: PlannedArm) -> ArmAccount:
    """The main arm counts the lineage of its outcome, too: side branches of a recipe are no part of it."""
    entries = plan.step(arm.outcome).lineage if arm.outcome is not None else ()
    mine = (step for step in plan.steps if (arm.name, arm.seed) in step.users)
    measured = tuple(asked for step in mine for asked in step.asks if asked.measured)
    touched = {entry.pool for entry in (*entries, *measured)}
    return ArmAccount(
        arm=arm.name,
        seed=arm.seed,
        outcome=arm.outcome,
        entries=entries,
        bought=distinct_labels(entries),
        uses=sum(entry.labels for entry in entries),
        measured=measured,
        untouched=tuple(pool for pool in plan.recipe.pools() if pool not in touched),
    )


def _data(plan: Plan, name: str) -> DataAccount:
    found, config = plan.ledger.pools.set(name), plan.recipe.data[name]
    return DataAccount(
        name=name,
        problems=len(found.loaded.problems),
        repeated=found.loaded.repeated,
        conflicts=tuple(asdict(conflict) for conflict in found.loaded.conflicts),
        without_answer=found.loaded.without_answer,
        overlaps={suite: len({overlap.train_id for overlap in overlaps}) for suite, overlaps in found.overlaps.items()},
        unknown=found.unknown,
        pools={pool: len(problems) for pool, problems in found.pools.items()},
        by_file=tuple(pool for pool, share in config.pools.items() if isinstance(share, IdsFile)),
        in_no_pool=len(found.problems) - sum(len(problems) for problems in found.pools.values()),
    )
