"""C1 and C2 for the page: what was measured along the pipeline, and whether it was enough. From records alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from reasoning_pipeline.base.text import ABSENT
from reasoning_pipeline.plan.judging import judgement
from reasoning_pipeline.report.charts import Scale, value_scale
from reasoning_pipeline.workflows.reasoning.gates.asked import gates_of
from reasoning_pipeline.workflows.reasoning.gates.measuring import DIVERGENCE, GAIN

if TYPE_CHECKING:
    from reasoning_pipeline.plan.graph import Plan, PlannedStep

VERDICTS = {True: "holds", False: "does not hold", None: "not asked here"}


@dataclass(frozen=True, kw_only=True)
class Gain:
    """One teacher against its start.

    Example:
        Gain(teacher="teacher_rl", start="teacher_base", gain="+54.3 [+49.1, +59.4]", accuracy="34.1 → 88.4",
             problems=200, verdict="holds")
    """

    teacher: str
    start: str
    gain: str
    accuracy: str
    problems: int
    verdict: str


@dataclass(frozen=True, kw_only=True)
class Distance:
    """One student against its teacher; positions in percent of the axis of reverse KL.

    Example:
        Distance(student="warmup", teacher="teacher_rl", reverse="0.025 [0.019, 0.031]", forward="0.020",
                 overlap="83 %", verdict="holds", at=9.8, low=7.4, high=12.1)
    """

    student: str
    teacher: str
    reverse: str
    forward: str
    overlap: str
    verdict: str
    at: float
    low: float
    high: float


@dataclass(frozen=True, kw_only=True)
class GateSection:
    gains: tuple[Gain, ...]
    distances: tuple[Distance, ...]
    asked: float | None
    """Where the threshold of C2 stands on the axis."""
    asked_text: str
    top_k: int | None


def gate_section(plan: Plan) -> GateSection | None:
    """None where the plan has measured nothing."""
    steps = [step for step in plan.steps if step.artifact is not None]
    gains = tuple(_gain(plan, step) for step in steps if step.config.stage == GAIN)
    measured = [
        step for step in steps if step.config.stage == DIVERGENCE and _result(step).get("reverse_kl") is not None
    ]
    if not gains and not measured:
        return None
    gates = gates_of(plan.recipe)
    threshold = gates.c2.max_reverse_kl if gates is not None and gates.c2 is not None else None
    ends = [high for step in measured for high in _result(step)["reverse_kl_interval"]]
    scale = value_scale([0.0, *ends, *([threshold] if threshold is not None else [])]) if measured else None
    return GateSection(
        gains=gains,
        distances=tuple(_distance(plan, step, scale) for step in measured if scale is not None),
        asked=scale.at(threshold) if scale is not None and threshold is not None else None,
        asked_text=f"{threshold:g}" if threshold is not None else "",
        top_k=_result(measured[0])["top_k"] if measured else None,
    )


def _gain(plan: Plan, step: PlannedStep) -> Gain:
    result = _result(step)
    start, teacher = step.input("start"), step.input("policy")
    gain, ends = result.get("gain"), result.get("gain_interval")
    before, after = result.get("accuracy_start"), result.get("accuracy")
    return Gain(
        teacher=teacher.step or teacher.reference,
        start=start.step or start.reference,
        gain=ABSENT if gain is None or ends is None else f"{_points(gain)} [{_points(ends[0])}, {_points(ends[1])}]",
        accuracy=ABSENT if before is None or after is None else f"{100 * before:.1f} → {100 * after:.1f}",
        problems=result.get("problems", 0),
        verdict=_verdict(plan, step),
    )


def _distance(plan: Plan, step: PlannedStep, scale: Scale) -> Distance:
    result = _result(step)
    student, teacher = step.input("policy"), step.input("teacher")
    low, high = result["reverse_kl_interval"]
    return Distance(
        student=student.step or student.reference,
        teacher=teacher.step or teacher.reference,
        reverse=f"{result['reverse_kl']:.3g} [{low:.3g}, {high:.3g}]",
        forward=f"{result['forward_kl']:.3g}",
        overlap=f"{100 * result['top_k_overlap']:.0f}\u00a0%",
        verdict=_verdict(plan, step),
        at=scale.at(result["reverse_kl"]),
        low=scale.at(low),
        high=scale.at(high),
    )


def _result(step: PlannedStep) -> dict[str, Any]:
    assert step.artifact is not None
    return step.artifact.record.result


def _verdict(plan: Plan, step: PlannedStep) -> str:
    judged = judgement(plan, step)
    return VERDICTS[judged.held if judged is not None else None]


def _points(share: float) -> str:
    return f"{100 * share:+.1f}".replace("-", "−")
