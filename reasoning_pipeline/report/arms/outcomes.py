"""What each arm's outcome is worth: accuracy over problems and seeds, difference to the main arm, labels, cost.

An arm counts with the seeds under which its outcome has been scored; it is compared with the main arm over the seeds
that both have. Everything comes from records and stored samples.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from statistics import mean
from typing import TYPE_CHECKING, Any, TypeVar

from reasoning_pipeline.report.answers import read_means
from reasoning_pipeline.report.charts import finite
from reasoning_pipeline.report.results import suites

if TYPE_CHECKING:
    from reasoning_pipeline.plan.graph import Plan, PlannedArm, PlannedStep
    from reasoning_pipeline.statistics.over_seeds import Crossed


@dataclass(frozen=True, kw_only=True)
class Cost:
    """What making something took: training and rollouts, without evaluations and measurements."""

    wall_hours: float
    cpu_hours: float
    """Of the steps' own processes; a rollout server's are its own."""
    gpu_hours: float


@dataclass(frozen=True, kw_only=True)
class ArmResult:
    """One arm over its seeds.

    Example:
        ArmResult(arm="no_warmup", description="…", outcome="no_warmup.polish", labels=1024, uses=1024,
                  accuracy={"arithmetic": Crossed(mean=0.91, …)}, difference={"arithmetic": Crossed(mean=-0.02, p=…)},
                  p_holm={"arithmetic": 0.04}, cost=Cost(…), seeds=(0, 1, 2), missing=())
    """

    arm: str
    description: str
    outcome: str | None
    labels: int
    """Distinct labels behind the outcome."""
    uses: int
    """Labels handed to training, replays included."""
    accuracy: dict[str, Crossed]
    difference: dict[str, Crossed]
    """To the main arm; the main arm itself has none."""
    p_holm: dict[str, float]
    """The difference's p, corrected for the number of arms compared on the suite; none for those that fill a curve."""
    cost: Cost | None
    """Of the whole lineage, shared steps included, mean over the seeds; None where a step's record does not say."""
    seeds: tuple[int, ...]
    """Seeds under which the outcome has been scored."""
    missing: tuple[int, ...]
    lacks: str = ""
    """The stage it does without."""
    sections: Mapping[str, Any] = field(default_factory=dict)
    """What workflows' keys say of it."""
    curve: str = ""
    mean_tokens: dict[str, float] = field(default_factory=dict)
    """By suite: mean length of an answer."""
    start: dict[str, float] = field(default_factory=dict)
    """By suite: mean accuracy of the checkpoint that its policy began as, under the seeds where that was scored too."""
    after_base: Cost | None = None
    """As `cost`, without the making of base models, which elsewhere are given."""


def has_arms(plan: Plan) -> bool:
    """Whether there is more than one run of one recipe to speak about."""
    return len(plan.arms) > 1


def arm_results(plan: Plan) -> list[ArmResult]:
    """In the recipe's order, the main arm first."""
    scores = {(arm.name, arm.seed): _scores(plan, arm) for arm in plan.arms}
    names = list(dict.fromkeys(arm.name for arm in plan.arms))
    found = [_result(plan, [arm for arm in plan.arms if arm.name == name], scores) for name in names]
    return _corrected(found)


Key = TypeVar("Key")
Scored = dict[str, dict[str, float]]
"""Suite -> problem -> mean score of its samples."""


def _scores(plan: Plan, arm: PlannedArm) -> Scored:
    artifact = plan.step(arm.evaluation).artifact if arm.evaluation is not None else None
    if artifact is None:
        return {}
    means = {suite: read_means(artifact.folder / suite) for suite in suites(plan)}
    return {suite: values for suite, values in means.items() if values}


def compared(
    scores: Mapping[tuple[str, int], Mapping[Key, Mapping[str, float]]], name: str, key: Key
) -> tuple[Crossed | None, Crossed | None]:
    """(an arm's mean, its difference to the main arm) over problems and seeds; None where nothing is scored.

    Args:
        scores: (arm, seed) -> what was asked, a suite for one -> problem -> score.
    """
    from reasoning_pipeline.recipe.model import MAIN
    from reasoning_pipeline.statistics.over_seeds import crossed_difference, crossed_mean

    ours = [seed for arm, seed in scores if arm == name and key in scores[arm, seed]]
    both = [seed for seed in ours if key in scores.get((MAIN, seed), {})] if name != MAIN else []
    difference = crossed_difference(*([scores[arm, seed][key] for seed in both] for arm in (name, MAIN)))
    return crossed_mean([scores[name, seed][key] for seed in ours]), difference


def _result(plan: Plan, arms: Sequence[PlannedArm], scores: dict[tuple[str, int], Scored]) -> ArmResult:
    from reasoning_pipeline.recipe.model import MAIN
    from reasoning_pipeline.registry.record import distinct_labels

    name = arms[0].name
    counted = [arm for arm in arms if scores[name, arm.seed]]
    accuracy: dict[str, Crossed] = {}
    difference: dict[str, Crossed] = {}
    for suite in suites(plan):
        estimate, paired = compared(scores, name, suite)
        if estimate is not None:
            accuracy[suite] = estimate
        if paired is not None:
            difference[suite] = paired
    lineage = plan.step(arms[0].outcome).lineage if arms[0].outcome is not None else ()
    made = [made_by(plan, arm) for arm in counted]
    marks = plan.recipe if name == MAIN else plan.recipe.arms[name]
    starts = [start_of(plan, arm) for arm in counted]
    return ArmResult(
        arm=name,
        description=arms[0].description if name != MAIN else "the recipe's own steps",
        outcome=arms[0].outcome,
        labels=distinct_labels(lineage),
        uses=sum(entry.labels for entry in lineage),
        accuracy=accuracy,
        difference=difference,
        p_holm={},
        cost=_mean_cost([cost_of(steps) for steps in made]),
        seeds=tuple(arm.seed for arm in counted),
        missing=tuple(arm.seed for arm in arms if arm not in counted),
        lacks="" if name == MAIN else plan.recipe.arms[name].lacks,
        sections=marks.sections,
        curve=marks.curve,
        mean_tokens=_recorded(plan, [plan.step(arm.evaluation) for arm in counted if arm.evaluation], "mean_tokens"),
        start=_recorded(plan, [step for start in starts if (step := plan.evaluation_of(start or ""))], "accuracy"),
        after_base=_mean_cost([cost_of(step for step in steps if step.inputs) for steps in made]),
    )


def start_of(plan: Plan, arm: PlannedArm) -> str | None:
    """The step at the beginning of the outcome's policy: the base model; None where that comes from outside."""
    at = arm.outcome
    while at is not None and (policy := next((i for i in plan.step(at).inputs if i.field == "policy"), None)):
        at = policy.step
    return at


def _recorded(plan: Plan, evaluations: Sequence[PlannedStep], figure: str) -> dict[str, float]:
    """Suite -> mean over these evaluations of a figure in their records; absent where one of them lacks it."""
    found: dict[str, float] = {}
    for suite in suites(plan):
        entries = [s.artifact.record.result.get("suites", {}).get(suite, {}) for s in evaluations if s.artifact]
        values = [entry.get(figure) for entry in entries]
        if values and len(values) == len(evaluations) and all(finite(value) for value in values):
            found[suite] = mean(values)
    return found


def per_100_labels(result: ArmResult, suite: str) -> float | None:
    """What the student gained over its start, a share of 1, for each hundred labels; None where one is unknown."""
    gained = _gained(result, suite)
    return None if gained is None or not result.labels else 100 * gained / result.labels


def per_cpu_minute(result: ArmResult, suite: str) -> float | None:
    """The same for each minute of CPU time after the base models."""
    gained, cost = _gained(result, suite), result.after_base
    return None if gained is None or cost is None or not cost.cpu_hours else gained / (60 * cost.cpu_hours)


def _gained(result: ArmResult, suite: str) -> float | None:
    if suite not in result.accuracy or suite not in result.start:
        return None
    return result.accuracy[suite].mean - result.start[suite]


def shorter_on_a_curve(result: ArmResult, results: Sequence[ArmResult]) -> bool:
    """Whether an arm is there for its place on a curve: another arm of the same curve has more labels."""
    return bool(result.curve) and any(r.curve == result.curve and r.labels > result.labels for r in results)


def _corrected(found: list[ArmResult]) -> list[ArmResult]:
    """Holm over the arms that ask what a stage is worth, suite by suite. Arms that only fill a curve at fewer labels
    ask nothing of the kind, get no p, and do not count."""
    from reasoning_pipeline.statistics.over_seeds import holm

    p_holm: dict[str, dict[str, float]] = {}
    asking = [result for result in found if not shorter_on_a_curve(result, found)]
    for suite in {suite for result in asking for suite in result.difference}:
        tested = [(r.arm, r.difference[suite].p) for r in asking if suite in r.difference]
        usable = [(arm, p) for arm, p in tested if p is not None]
        for (arm, _), p in zip(usable, holm([p for _, p in usable]), strict=True):
            p_holm.setdefault(arm, {})[suite] = p
    return [replace(result, p_holm=p_holm.get(result.arm, {})) for result in found]


# Cost


def made_by(plan: Plan, arm: PlannedArm) -> list[PlannedStep]:
    """The steps behind an arm's outcome, each once, whoever else shares them."""
    found: dict[str, PlannedStep] = {}

    def visit(name: str) -> None:
        if name not in found:
            found[name] = step = plan.step(name)
            for entry in step.inputs:
                if entry.step is not None:
                    visit(entry.step)

    if arm.outcome is not None:
        visit(arm.outcome)
    return list(found.values())


def cost_of(steps: Iterable[PlannedStep]) -> Cost | None:
    """None where a step is missing or its record does not say. Equal steps count once."""
    once = {step.fingerprint: step for step in steps}
    records = [step.artifact.record.provenance if step.artifact is not None else {} for step in once.values()]
    if not records or any("wall_seconds" not in record for record in records):
        return None

    def hours(of: Callable[[dict], float]) -> float:
        return sum(of(record) for record in records)

    return Cost(
        wall_hours=hours(lambda r: float(r["wall_seconds"]) / 3600),
        cpu_hours=hours(lambda r: float(r.get("cpu_hours", float(r.get("cpu_seconds") or 0) / 3600))),
        gpu_hours=hours(lambda r: float(r.get("gpu_hours") or 0)),
    )


def total_cost(plan: Plan) -> Cost | None:
    """What was really spent on training and rollouts: every complete step once."""
    return cost_of(
        step for step in plan.steps if step.complete and type(step.config).publishes in ("checkpoint", "rollouts")
    )


def _mean_cost(costs: Sequence[Cost | None]) -> Cost | None:
    """None where one of them is unknown."""
    known = [cost for cost in costs if cost is not None]
    if not known or len(known) < len(costs):
        return None
    return Cost(
        wall_hours=mean(cost.wall_hours for cost in known),
        cpu_hours=mean(cost.cpu_hours for cost in known),
        gpu_hours=mean(cost.gpu_hours for cost in known),
    )
