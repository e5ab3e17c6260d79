"""C1 and C2 along the pipeline, over the seeds of an arm."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from reasoning_pipeline.plan.graph import Plan, PlannedArm, PlannedStep
from reasoning_pipeline.report.charts import Scale, finite, value_scale
from reasoning_pipeline.report.strips import SeedChart, apart, log_scale, strip
from reasoning_pipeline.workflows.reasoning.gates.measuring import DIVERGENCE, GAIN

DISTANCES = (
    ("reverse_kl", "KL(student ‖ teacher), nats per token"),
    ("forward_kl", "KL(teacher ‖ student), nats per token"),
    ("top_k_overlap", "top-k overlap, share of 1"),
)


Values = dict[tuple[str, str], list[float]]
"""(where in the pipeline, step inside the arm) -> a figure under every seed that has it."""


def condition_values(plan: Plan, arms: Sequence[PlannedArm]) -> dict[str, Values]:
    """Figure -> its values under the seeds of an arm: `gain` (C1, share of 1), and those of DISTANCES (C2)."""
    found: dict[str, Values] = defaultdict(lambda: defaultdict(list))
    for inside, step in _measured(plan, arms, GAIN):
        if finite(gain := _result(step).get("gain")):
            found["gain"]["over its raw self", inside.removesuffix(".c1")].append(gain)
    for _, step in _measured(plan, arms, DIVERGENCE):
        for figure, _ in DISTANCES:
            if finite(value := _result(step).get(figure)):
                found[figure][_place(plan, arms, step)].append(value)
    return found


def condition_charts(measured: dict[str, Values]) -> Iterator[SeedChart]:
    if gains := measured.get("gain"):
        scale = value_scale([100 * value for values in gains.values() for value in values])
        strips = [strip(who, note, [100 * v for v in values], scale, "+.1f") for (who, note), values in gains.items()]
        title = "C1: what the teacher gained, points"
        yield SeedChart(title=title, strips=tuple(strips), ticks=apart(scale.ticks()), role="teacher")
    for figure, title in DISTANCES:
        if places := measured.get(figure):
            values = [value for found in places.values() for value in found]
            scale = Scale(0.0, 1.0) if figure == "top_k_overlap" else log_scale(values)
            strips = [strip(who, note, found, scale, ".2g") for (who, note), found in places.items()]
            yield SeedChart(title=f"C2: {title}", strips=tuple(strips), ticks=apart(scale.ticks()), role="student")


def _measured(plan: Plan, arms: Sequence[PlannedArm], stage: str) -> Iterator[tuple[str, PlannedStep]]:
    """(name inside the arm, step) of the measurements that are there: by place along the pipeline, then by seed."""
    for inside in dict.fromkeys(name for arm in arms for name in arm.steps):
        for arm in arms:
            step = plan.step(arm.steps[inside]) if inside in arm.steps else None
            if step is not None and step.config.stage == stage and step.artifact is not None:
                yield inside, step


def _place(plan: Plan, arms: Sequence[PlannedArm], measurement: PlannedStep) -> tuple[str, str]:
    """(`after Stage 2a`, `warmup`); a student that nobody has distilled into yet stands at the start."""
    node = measurement.input("policy").step
    inside = next((name for arm in arms for name, step in arm.steps.items() if step == node), "")
    title = type(plan.step(node).config).title if node is not None else ""
    where = f"after {title}" if title else "before the bridge"
    return where, inside or measurement.input("policy").reference


def _result(step: PlannedStep) -> Mapping[str, Any]:
    assert step.artifact is not None
    return step.artifact.record.result
