"""What can be known to be wrong before anything is queued: batches that do not divide, launchers that do not exist,
models that do not fit."""

from __future__ import annotations

from reasoning_pipeline.errors import RecipeError
from reasoning_pipeline.estimates.steps import check_fit
from reasoning_pipeline.hardware.launcher import accelerate_file
from reasoning_pipeline.hardware.profile import HardwareProfile, accumulation
from reasoning_pipeline.plan.graph import Plan, PlannedStep


def check(plan: Plan, profile: HardwareProfile, steps: list[PlannedStep]) -> None:
    """Raises RecipeError listing every step that this profile cannot run."""
    problems = []
    if profile.accelerate_config is not None:
        accelerate_file(profile)
    for step in steps:
        batch = global_batch(step)
        if batch is None:
            continue
        try:
            accumulation(profile, batch, what=step.name)
        except RecipeError as error:
            problems += error.problems
    if problems:
        raise RecipeError(f"{plan.recipe.path} on {profile.name}", problems)
    check_fit(plan, profile, steps)


def global_batch(step: PlannedStep) -> int | None:
    """Rollouts of one optimizer step; None for steps that train nothing, or in one process always."""
    config = step.config
    if not type(config).heavy:
        return None
    if (problems := getattr(config, "problems_per_step", None)) is not None:
        return int(problems) * int(getattr(config, "group_size", 1))
    batch = getattr(config, "rollouts_per_step", None)
    return int(batch) if batch is not None else None
