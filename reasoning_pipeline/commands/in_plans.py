"""Words of a plan that its summary and its details share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from reasoning_pipeline.base.text import ABSENT, counted

if TYPE_CHECKING:
    from reasoning_pipeline.hardware.profile import HardwareProfile
    from reasoning_pipeline.plan.graph import Plan, PlannedStep


def title(plan: Plan, profile: HardwareProfile) -> str:
    arms = len({arm.name for arm in plan.arms})
    seeds = f", seeds {', '.join(map(str, plan.seeds))}" if len(plan.seeds) > 1 else ""
    return f"{plan.recipe.name} on {profile.name}" + (f": {counted(arms, 'arm')}{seeds}" if len(plan.arms) > 1 else "")


def without_evaluations(steps: Sequence[PlannedStep]) -> list[PlannedStep]:
    """They stand with the checkpoint that they score."""
    from reasoning_pipeline.recipe.stage import Evaluation

    return [step for step in steps if not isinstance(step.config, Evaluation)]


def labels_of(steps: Sequence[PlannedStep]) -> str:
    spent = {spend.pool: spend.labels for step in steps for spend in step.spends}
    again = " again" if any(spend.replay for step in steps for spend in step.spends) else ""
    return f"{sum(spent.values()):,}{again}" if spent else ABSENT


def state(plan: Plan, step: PlannedStep) -> str:
    if step.complete:
        return "complete"
    if (plan.registry.root / "work" / step.output / "checkpoints").is_dir():
        return "would resume"
    return "would run" if plan.registry.removed(step.output) is None else "would run again"  # its artifact was removed
