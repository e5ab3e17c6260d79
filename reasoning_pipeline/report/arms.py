"""What each arm's outcome is worth: accuracy over problems and seeds, difference to the main arm, labels, cost.

An arm counts with the seeds under which its outcome has been scored; it is compared with the main arm over the seeds
that both have. Everything comes from records and stored samples.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from statistics import mean
from typing import TYPE_CHECKING

from reasoning_pipeline.report.answers import read_answers
from reasoning_pipeline.report.results import suites

if TYPE_CHECKING:
    from rich.table import Table

    from reasoning_pipeline.crossed import Crossed
    from reasoning_pipeline.plan import Plan, PlannedArm, PlannedStep


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
    """The difference's p, corrected for the number of arms compared on the suite."""
    cost: Cost | None
    """Of the whole lineage, shared steps included, mean over the seeds; None where a step's record does not say."""
    seeds: tuple[int, ...]
    """Seeds under which the outcome has been scored."""
    missing: tuple[int, ...]


def has_arms(plan: Plan) -> bool:
    """Whether there is more than one run of one recipe to speak about."""
    return len(plan.arms) > 1


def arm_results(plan: Plan) -> list[ArmResult]:
    """In the recipe's order, the main arm first."""
    scores = {(arm.name, arm.seed): _scores(plan, arm) for arm in plan.arms}
    names = list(dict.fromkeys(arm.name for arm in plan.arms))
    found = [_result(plan, [arm for arm in plan.arms if arm.name == name], scores) for name in names]
    return _corrected(found)


Scored = dict[str, dict[str, float]]
"""Suite -> problem -> mean score of its samples."""


def _scores(plan: Plan, arm: PlannedArm) -> Scored:
    artifact = plan.step(arm.evaluation).artifact if arm.evaluation is not None else None
    if artifact is None:
        return {}
    means = {suite: read_answers(artifact.folder / suite).means for suite in suites(plan)}
    return {suite: values for suite, values in means.items() if values}


def _result(plan: Plan, arms: Sequence[PlannedArm], scores: dict[tuple[str, int], Scored]) -> ArmResult:
    from reasoning_pipeline.crossed import crossed_difference, crossed_mean
    from reasoning_pipeline.labels import distinct_labels
    from reasoning_pipeline.recipe_model import MAIN

    name = arms[0].name
    scored = tuple(arm.seed for arm in arms if scores[name, arm.seed])
    accuracy: dict[str, Crossed] = {}
    difference: dict[str, Crossed] = {}
    for suite in suites(plan):
        ours = [seed for seed in scored if suite in scores[name, seed]]
        if (estimate := crossed_mean([scores[name, seed][suite] for seed in ours])) is not None:
            accuracy[suite] = estimate
        both = [seed for seed in ours if suite in scores.get((MAIN, seed), {})] if name != MAIN else []
        paired = crossed_difference(
            [scores[name, seed][suite] for seed in both], [scores[MAIN, seed][suite] for seed in both]
        )
        if paired is not None:
            difference[suite] = paired
    lineage = plan.step(arms[0].outcome).lineage if arms[0].outcome is not None else ()
    costs = [cost_of(made_by(plan, arm)) for arm in arms if arm.seed in scored]
    known = [cost for cost in costs if cost is not None]
    return ArmResult(
        arm=name,
        description=arms[0].description if name != MAIN else "the recipe's own steps",
        outcome=arms[0].outcome,
        labels=distinct_labels(lineage),
        uses=sum(entry.labels for entry in lineage),
        accuracy=accuracy,
        difference=difference,
        p_holm={},
        cost=_mean_cost(known) if known and len(known) == len(costs) else None,
        seeds=scored,
        missing=tuple(arm.seed for arm in arms if arm.seed not in scored),
    )


def _corrected(found: list[ArmResult]) -> list[ArmResult]:
    """Holm over the arms, suite by suite."""
    from reasoning_pipeline.crossed import holm

    p_holm: dict[str, dict[str, float]] = {}
    for suite in {suite for result in found for suite in result.difference}:
        tested = [(r.arm, r.difference[suite].p) for r in found if suite in r.difference]
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


def _mean_cost(costs: Sequence[Cost]) -> Cost:
    return Cost(
        wall_hours=mean(cost.wall_hours for cost in costs),
        cpu_hours=mean(cost.cpu_hours for cost in costs),
        gpu_hours=mean(cost.gpu_hours for cost in costs),
    )


# As text


def interval(estimate: Crossed | None) -> str:
    """`92.9 [87.7, 98.1]`, in percent."""
    if estimate is None:
        return "–"
    if estimate.low is None or estimate.high is None:
        return f"{100 * estimate.mean:.1f}"
    return f"{100 * estimate.mean:.1f} [{100 * estimate.low:.1f}, {100 * estimate.high:.1f}]"


def points(estimate: Crossed | None) -> str:
    """`−2.0 [−4.1, +0.1]`, in points."""
    if estimate is None:
        return "–"
    ends = ""
    if estimate.low is not None and estimate.high is not None:
        ends = f" [{100 * estimate.low:+.1f}, {100 * estimate.high:+.1f}]"
    return f"{100 * estimate.mean:+.1f}{ends}".replace("-", "−")


def p_value(p: float | None) -> str:
    """`0.003`, `< 0.001`."""
    return "–" if p is None else "< 0.001" if p < 0.001 else f"{p:.3f}"


def hours(value: float | None) -> str:
    """`2.4 h`, `31 s`: whatever reads best."""
    if value is None:
        return "–"
    seconds = 3600 * value
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.1f} min" if seconds < 7200 else f"{value:.1f} h"


def arms_table(plan: Plan) -> Table:
    """The table that a run of several arms ends with."""
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, collapse_padding=True)
    table.add_column("arm", overflow="fold")
    for suite in suites(plan):
        table.add_column(f"{suite}, %", justify="right", overflow="fold")
        table.add_column("vs main", justify="right", overflow="fold")
    table.add_column("labels", justify="right")
    table.add_column("made in", justify="right")
    for result in arm_results(plan):
        cells = [result.arm + (f"\nseeds {', '.join(map(str, result.missing))} missing" if result.missing else "")]
        for suite in suites(plan):
            cells.append(interval(result.accuracy.get(suite)).replace(" [", "\n["))
            p = f"\np {p_value(result.p_holm[suite])}" if suite in result.p_holm else ""
            cells.append(points(result.difference.get(suite)).partition(" [")[0] + p)
        cost = hours(result.cost.wall_hours) if result.cost is not None else "–"
        table.add_row(*cells, f"{result.labels:,}", cost, style="dim" if not result.seeds else "")
    count = len(plan.seeds)
    over = f"problems and {count} seeds" if count > 1 else "problems, one seed"
    table.caption = f"95 % intervals over {over}; differences paired, p corrected for the number of arms (Holm)"
    table.caption_justify = "left"
    return table
