"""What can be measured of a recipe before any of its labels is spent: where the student starts, and the teacher.

A few problems of the pool that the labels come from are asked of both models several times each, and the student's
rollouts are scored under the teacher. The two measurements are ordinary steps (of C1 and of C2), so the run's own
engine, server and verifier make them; nothing is trained but base models that the recipe itself makes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from reasoning_pipeline.errors import RecipeError
from reasoning_pipeline.recipe.model import STEP, Recipe, lineage
from reasoning_pipeline.recipe.rewarded import Rewarded
from reasoning_pipeline.recipe.stage import Spends, StageConfig
from reasoning_pipeline.workflows.reasoning.evaluation import Evaluate, evaluation_of
from reasoning_pipeline.workflows.reasoning.gates.measuring import MeasureGain, decoding_for, distils
from reasoning_pipeline.workflows.reasoning.stages import measure_divergence

if TYPE_CHECKING:
    from reasoning_pipeline.plan.graph import Plan

PROBLEMS, SAMPLES = 32, 8
"""256 rollouts of each model: 32 groups of eight, as large as the groups that GRPO compares."""
ASKED, DISTANCE = "probe", "probe_distance"
"""Names of the two steps."""

ReadMeans = Callable[[Any], dict[str, float]]
"""Folder of an evaluation's samples -> problem -> share of right samples."""


@dataclass(frozen=True, kw_only=True)
class Probe:
    """Shares of 1; distances in nats a token.

    Example:
        Probe(start=0.21, teacher_start=0.34, mixed=0.72, kl_start=0.31, labels=1024, problems=32, samples=8,
              teacher_size=3.8)
    """

    start: float
    """The student's accuracy before any reward."""
    teacher_start: float
    """The raw teacher's, on the same problems."""
    mixed: float
    """Share of the student's groups with right and wrong rollouts: the only ones that GRPO learns from."""
    kl_start: float
    """KL(student || raw teacher) on the student's rollouts."""
    labels: int
    """Distinct labels behind the main arm's outcome."""
    problems: int
    samples: int
    teacher_size: float | None
    """Parameters of the teacher over those of the student; None where one is unknown."""


def probed(recipe: Recipe) -> Recipe:
    """The recipe that measures: base models that this one makes itself, and the two measurements.

    Raises:
        RecipeError: No step distils a teacher into a student, or no labels are spent.
    """
    where = str(recipe.path)
    bridge = next((name for name, config in recipe.steps.items() if distils(config)), None)
    if bridge is None:
        raise RecipeError(where, ["steps: no step distils a teacher into a student, so there is nothing to advise on"])
    pool = next((pool for name in recipe.steps for pool in recipe.pools_of(name, Spends)), None)
    if pool is None:
        raise RecipeError(where, ["steps: no step spends labels, so nothing says which problems are asked"])
    config: Any = recipe.steps[bridge]
    student, teacher = beginning(recipe, config.policy), beginning(recipe, config.teacher)
    decoding = decoding_for(recipe, bridge)
    rewarded = next((c for c in recipe.steps.values() if isinstance(c, Rewarded)), None)
    steps: dict[str, StageConfig] = {name: recipe.steps[name] for name in _made(recipe, student, teacher)}
    steps[ASKED] = MeasureGain(
        policy=teacher,
        start=student,
        problems=(pool,),
        limit=PROBLEMS,
        samples=SAMPLES,
        temperature=decoding.get("temperature", 1.0),
        max_completion_tokens=decoding["max_completion_tokens"],
        **({"reward": rewarded.reward, "reward_files": rewarded.reward_files} if rewarded is not None else {}),
    )
    steps[DISTANCE] = measure_divergence.Config(
        policy=student, teacher=teacher, prompts=(pool,), rollouts=PROBLEMS * SAMPLES, **decoding
    )
    sections = {key: value for key, value in recipe.sections.items() if key != "gates"}
    if (evaluated := evaluation_of(recipe)) is not None:  # its suites still say which problems are no pool's
        sections[Evaluate.key] = evaluated.model_copy(update={"of": ()})
    changes = {"steps": steps, "arms": {}, "outcome": None, "searched": {}, "sections": sections}
    return recipe.model_copy(update={**changes, "name": f"{recipe.name}.probe"})


def read_probe(measured: Plan, whole: Plan, read_means: ReadMeans, seed: int | None = None) -> Probe:
    """What the measurements found.

    Args:
        measured: Of `probed(recipe)`, complete.
        whole: Of the recipe itself, which says how many labels its main arm spends.
        seed: Of several, the one that is meant.
    """
    from reasoning_pipeline.recipe.model import MAIN
    from reasoning_pipeline.registry.record import distinct_labels

    arm = next(arm for arm in measured.arms if seed is None or arm.seed == seed)
    asked, distance = (measured.step(arm.steps[name]).artifact for name in (ASKED, DISTANCE))
    assert asked is not None and distance is not None
    means = read_means(asked.folder / "start" / "held_out")
    outcome = next(arm.outcome for arm in whole.arms if arm.name == MAIN)
    result = asked.record.result
    return Probe(
        start=result["accuracy_start"],
        teacher_start=result["accuracy"],
        mixed=sum(0 < mean < 1 for mean in means.values()) / len(means),
        kl_start=distance.record.result["reverse_kl"],
        labels=distinct_labels(whole.step(outcome).lineage) if outcome is not None else 0,
        problems=len(means),
        samples=result["samples"],
        teacher_size=_relative_size(measured, arm.steps[ASKED]),
    )


def beginning(recipe: Recipe, reference: str) -> str:
    """The model that a step's policy began as: the first of its line that no step trains further."""
    while reference.startswith(STEP):
        policy = getattr(recipe.steps[reference.removeprefix(STEP)], "policy", None)
        if policy is None:
            return reference
        reference = policy
    return reference


def _made(recipe: Recipe, *references: str) -> list[str]:
    """Steps behind these models, in the recipe's order."""
    named = [reference.removeprefix(STEP) for reference in references if reference.startswith(STEP)]
    needed = {step for name in named for step in (*lineage(recipe, name), name)}
    return [name for name in recipe.steps if name in needed]


def _relative_size(plan: Plan, step: str) -> float | None:
    from reasoning_pipeline.estimates.shapes import shape_of_input

    teacher, student = (shape_of_input(plan, plan.step(step), field) for field in ("policy", "start"))
    return teacher.parameters / student.parameters if teacher is not None and student is not None else None
