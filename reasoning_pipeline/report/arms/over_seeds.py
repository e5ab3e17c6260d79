"""The main arm over its seeds: the two conditions along the pipeline, and how its training went.

The page shows one seed step by step; what is drawn here says whether the others went the same way.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import mean
from typing import TYPE_CHECKING, Any

from reasoning_pipeline.report.answers import read_rows
from reasoning_pipeline.report.charts import Point, Scale, Tick, finite, number, path, thinned, value_scale
from reasoning_pipeline.report.curves import KL_TITLES, SHARES, TITLES, Layer, Plot, steps_scale, steps_ticks
from reasoning_pipeline.workflows.reasoning.gates import DIVERGENCE, GAIN

if TYPE_CHECKING:
    from reasoning_pipeline.plan.graph import Plan, PlannedArm, PlannedStep

STAGES = {
    "sparse_grpo": "Stage 1",
    "forward_kl_warmup": "Stage 2a",
    "on_policy_distillation": "Stage 2b",
    "extra_rl": "Stage 3",
}

DISTANCES = (
    ("reverse_kl", "KL(student ‖ teacher), nats per token"),
    ("forward_kl", "KL(teacher ‖ student), nats per token"),
    ("top_k_overlap", "top-k overlap, share of 1"),
)

FOLLOWED = {
    "sparse_grpo": ("completion_tokens",),
    "forward_kl_warmup": ("kl", "top_k_overlap"),
    "on_policy_distillation": ("kl", "top_k_overlap", "completion_tokens"),
    "extra_rl": ("completion_tokens",),
}
"""Stage -> what is drawn over its steps, where it was recorded."""


TICK_GAP = 15.0
"""Least distance of two ticks, in percent of the axis."""


@dataclass(frozen=True, kw_only=True)
class SeedStrip:
    """One place of the pipeline: a mean over seeds, and each seed. Positions in percent.

    Example:
        SeedStrip(who="after Stage 2a", note="warmup", figure="0.041", spread="0.011 to 0.061", at=40.2, each=(9.8, …))
    """

    who: str
    note: str
    figure: str
    spread: str
    at: float
    each: tuple[float, ...]


@dataclass(frozen=True, kw_only=True)
class SeedChart:
    title: str
    strips: tuple[SeedStrip, ...]
    ticks: tuple[Tick, ...]
    role: str


@dataclass(frozen=True, kw_only=True)
class OverSeeds:
    seeds: tuple[int, ...]
    conditions: tuple[SeedChart, ...]
    training: tuple[tuple[str, Plot], ...]
    """(role, plot), in the order of the pipeline."""


def over_seeds(plan: Plan) -> OverSeeds | None:
    """None where neither a condition was measured nor anything trained."""
    from reasoning_pipeline.recipe.model import MAIN

    arms = [arm for arm in plan.arms if arm.name == MAIN]
    conditions = tuple(_condition_charts(condition_values(plan)))
    inside = dict.fromkeys(name for arm in arms for name in arm.steps)
    training = tuple(found for name in inside for found in _step_plots(plan, arms, name))
    if not conditions and not training:
        return None
    return OverSeeds(seeds=tuple(arm.seed for arm in arms), conditions=conditions, training=training)


# C1 and C2


Values = dict[tuple[str, str], list[float]]
"""(where in the pipeline, step inside the arm) -> a figure under every seed that has it."""


def condition_values(plan: Plan) -> dict[str, Values]:
    """Figure -> its values for the main arm: `gain` (C1, share of 1), and those of DISTANCES (C2)."""
    from reasoning_pipeline.recipe.model import MAIN

    arms = [arm for arm in plan.arms if arm.name == MAIN]
    found: dict[str, Values] = defaultdict(lambda: defaultdict(list))
    for inside, step in _measured(plan, arms, GAIN):
        if finite(gain := _result(step).get("gain")):
            found["gain"]["over its raw self", inside.removesuffix(".c1")].append(gain)
    for _, step in _measured(plan, arms, DIVERGENCE):
        for figure, _ in DISTANCES:
            if finite(value := _result(step).get(figure)):
                found[figure][_place(plan, arms, step)].append(value)
    return found


def _condition_charts(measured: dict[str, Values]) -> Iterator[SeedChart]:
    if gains := measured.get("gain"):
        scale = value_scale([100 * value for values in gains.values() for value in values])
        strips = [_strip(who, note, [100 * v for v in values], scale, "+.1f") for (who, note), values in gains.items()]
        title = "C1: what the teacher gained, points"
        yield SeedChart(title=title, strips=tuple(strips), ticks=_apart(scale.ticks()), role="teacher")
    for figure, title in DISTANCES:
        if places := measured.get(figure):
            values = [value for found in places.values() for value in found]
            scale = Scale(0.0, 1.0) if figure == "top_k_overlap" else _log_scale(values)
            strips = [_strip(who, note, found, scale, ".2g") for (who, note), found in places.items()]
            yield SeedChart(title=f"C2: {title}", strips=tuple(strips), ticks=_apart(scale.ticks()), role="student")


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
    stage = plan.step(node).config.stage if node is not None else ""
    where = f"after {STAGES[stage]}" if stage in STAGES else "before the bridge"
    return where, inside or measurement.input("policy").reference


def _log_scale(values: Sequence[float]) -> Scale:
    """Logarithmic where all are positive: a distance falls by a factor at each stage, not by an amount."""
    low, high = min(values), max(values)
    return Scale(low / 1.3, high * 1.3, log=True) if low > 0 else value_scale(values)


def _apart(ticks: Sequence[Tick]) -> tuple[Tick, ...]:
    """As many of them as leave room for one another below a strip."""
    kept: list[Tick] = []
    for tick in ticks:
        if not kept or tick.at - kept[-1].at > TICK_GAP:
            kept.append(tick)
    return tuple(kept)


def _strip(who: str, note: str, values: Sequence[float], scale: Scale, form: str) -> SeedStrip:
    middle = mean(values)
    spread = f"{min(values):{form}} to {max(values):{form}}" if len(values) > 1 else "one seed"
    return SeedStrip(
        who=who,
        note=note,
        figure=f"{middle:{form}}".replace("-", "−"),
        spread=spread.replace("-", "−"),
        at=scale.at(middle),
        each=tuple(scale.at(value) for value in values) if len(values) > 1 else (),
    )


def _result(step: PlannedStep) -> Mapping[str, Any]:
    assert step.artifact is not None
    return step.artifact.record.result


# Training


def _step_plots(plan: Plan, arms: Sequence[PlannedArm], inside: str) -> Iterator[tuple[str, Plot]]:
    steps = [plan.step(arm.steps[inside]) for arm in arms if inside in arm.steps]
    stage = steps[0].config.stage
    rows = [list(read_rows(s.artifact.folder / "metrics.jsonl")) for s in steps if s.artifact and stage in FOLLOWED]
    for metric in FOLLOWED.get(stage, ()):
        lines = [line for one in rows if (line := _line(one, metric))]
        if lines:
            title = KL_TITLES.get(stage, TITLES["kl"]) if metric == "kl" else TITLES[metric]
            drawing = _plot(f"{inside}: {title}", lines, share=metric in SHARES)
            yield ("teacher" if stage == "sparse_grpo" else "student"), drawing


def _line(rows: Sequence[Mapping[str, Any]], metric: str) -> list[Point]:
    points = [(float(r["step"]), float(r[metric])) for r in rows if finite(r.get("step")) and finite(r.get(metric))]
    return points if len(points) > 1 else []


def _plot(title: str, lines: Sequence[Sequence[Point]], *, share: bool) -> Plot:
    """One thin line a seed; the bold one is their mean at the steps that all of them have."""
    by_step: dict[float, list[float]] = defaultdict(list)
    for line in lines:
        for step, value in dict(line).items():
            by_step[step].append(value)
    middle = [(step, mean(values)) for step, values in sorted(by_step.items()) if len(values) == len(lines)]
    drawn = [thinned(line) for line in lines]
    x = steps_scale(sorted((step, 0.0) for step in by_step))
    y = value_scale([value for line in drawn for _, value in line], share=share)
    each = [Layer(kind="each", path=path(line, x, y)) for line in drawn] if len(lines) > 1 else []
    layers = [*each, Layer(kind="mean", path=path(thinned(middle), x, y))]
    spoken = f"{title}, mean of {len(lines)} seeds"
    if middle:
        (first, at_first), (last, at_last) = middle[0], middle[-1]
        spoken += f": {number(at_first)} at step {number(first)}, {number(at_last)} at step {number(last)}"
    return Plot(title=title, spoken=spoken, layers=tuple(layers), x_ticks=steps_ticks(x), y_ticks=y.ticks(), log=y.log)
