"""How much work arms and seeds save by sharing their equal steps, from the plan alone.

Counted in steps, in rollouts (written, learned from, or scored; pretraining counts none), and, where every step has
been measured, in seconds. "Alone" is what it would take if every arm under every seed did all of its steps itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from reasoning_pipeline.data.suites.spec import suite_rows
from reasoning_pipeline.plan.graph import Plan, PlannedStep
from reasoning_pipeline.recipe.stage import Evaluation


@dataclass(frozen=True, kw_only=True)
class Saving:
    """One way to count.

    Example:
        Saving(unit="steps", needed=230, alone=395).share == 0.4177…
    """

    unit: str
    needed: float
    alone: float

    @property
    def share(self) -> float:
        """Of the work that every arm alone would do, what is saved; 0 where there is none."""
        return 1 - self.needed / self.alone if self.alone else 0.0


def savings(plan: Plan) -> list[Saving]:
    """By steps; by rollouts; by seconds where every step of the plan has been measured."""
    found = [_saving(plan, "steps", {step.name: 1.0 for step in plan.steps})]
    found.append(_saving(plan, "rollouts", {step.name: rollouts(step) for step in plan.steps}))
    seconds = {step.name: measured_seconds(step) for step in plan.steps}
    known = {name: value for name, value in seconds.items() if value is not None}
    if len(known) == len(seconds):
        found.append(_saving(plan, "seconds", known))
    return found


def _saving(plan: Plan, unit: str, weights: dict[str, float]) -> Saving:
    # Twins within an arm have one fingerprint and are one piece of work.
    needed = {step.fingerprint: weights[step.name] for step in plan.steps}
    alone = {(user, step.fingerprint): weights[step.name] for step in plan.steps for user in step.users}
    return Saving(unit=unit, needed=sum(needed.values()), alone=sum(alone.values()))


def measured_seconds(step: PlannedStep) -> float | None:
    """Wall time of a complete step's program; None where it was not recorded."""
    if step.artifact is None:
        return None
    for known in (step.artifact.record.provenance.get("wall_seconds"), step.artifact.record.result.get("seconds")):
        if known is not None:
            return float(known)
    return None


def rollouts(step: PlannedStep) -> float:
    """Rollouts that a step writes or learns from, or samples that it scores."""
    values: dict[str, Any] = step.config.model_dump()
    if isinstance(step.config, Evaluation):
        return float(sum(_problems(step, suite, values) for suite in step.config.suites) * step.config.samples)
    problems = sum(spend.labels for spend in step.spends) or step.prompts
    if type(step.config).publishes == "rollouts":
        return float(problems * values["rollouts_per_prompt"])
    per_step = values.get("rollouts_per_step") or values.get("problems_per_step", 0) * values.get("group_size", 1)
    if values.get("steps") is not None:
        return float(values["steps"] * per_step)
    per_problem = values.get("group_size") or values.get("rollouts_per_prompt") or 1
    return float((values.get("epochs") or 0) * problems * per_problem)


def _problems(step: PlannedStep, suite: str, values: dict[str, Any]) -> int:
    local, limit = (values.get("data") or {}).get(suite), values.get("limit")
    rows = suite_rows(suite, step.ledger.recipe.folder / local if local is not None else None)
    return min(rows, limit) if limit is not None else rows
