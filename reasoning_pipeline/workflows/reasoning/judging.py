"""What was measured, against the thresholds that the recipe asks for: a sentence each, and whether the run goes on."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from reasoning_pipeline.errors import PipelineError
from reasoning_pipeline.workflows.reasoning.gates import (
    DIVERGENCE,
    GAIN,
    ON_POLICY,
    DistanceGate,
    GainGate,
    GatesConfig,
    short_name,
)

if TYPE_CHECKING:
    from reasoning_pipeline.plan.graph import Plan, PlannedStep


@dataclass(frozen=True, kw_only=True)
class Judgement:
    """One measurement against the recipe's threshold.

    Example:
        Judgement(step="warmup.c2", gate="C2", held=False, on_failure="stop",
                  sentence="C2 does not hold for warmup against teacher_rl: reverse KL 0.234 nats per token, …")
    """

    step: str
    gate: Literal["C1", "C2"]
    held: bool | None
    """None where no threshold is asked at this place, or nothing could be measured."""
    on_failure: str
    sentence: str


class GateFailed(PipelineError):
    """A condition that the recipe requires does not hold."""


def judgements(plan: Plan) -> list[Judgement]:
    """Every measurement of the plan that is there, in plan order."""
    return [judged for step in plan.steps if (judged := judge(plan, step)) is not None]


def judge(plan: Plan, step: PlannedStep) -> Judgement | None:
    """None for a step that measures no gate, or that has not run."""
    gates, artifact = plan.recipe.gates, step.artifact
    if gates is None or artifact is None:
        return None
    if step.config.stage == GAIN and gates.c1 is not None:
        return _judge_gain(step, gates.c1, artifact.record.result)
    if step.config.stage == DIVERGENCE and gates.c2 is not None:
        return _judge_distance(plan, step, gates.c2, artifact.record.result)
    return None


def measured(steps: Iterable[PlannedStep]) -> list[PlannedStep]:
    """Those of the steps that measure a gate."""
    return [step for step in steps if step.config.stage in (GAIN, DIVERGENCE)]


def asked_of(plan: Plan, names: set[str]) -> set[str]:
    """Measurements that concern these steps alone: what a run up to one of them has to measure on the way."""
    return {step.name for step in measured(plan.steps) if {entry.step for entry in step.inputs} <= {*names, None}}


def overtakes(plan: Plan, step: PlannedStep, left: Sequence[PlannedStep]) -> bool:
    """Whether a measurement that may stop the run stands before this step and has not been made yet."""
    gates, order = plan.recipe.gates or GatesConfig(), plan.names()
    stopping = [
        stage
        for stage, gate in ((GAIN, gates.c1), (DIVERGENCE, gates.c2))
        if gate is not None and gate.on_failure == "stop"
    ]
    return any(
        other.config.stage in stopping and order.index(other.name) < order.index(step.name)
        for other in left
        if other is not step
    )


def enforce(plan: Plan) -> None:
    """Raises GateFailed where a gate that must hold does not: what comes after it would be built on sand."""
    failed = [j for j in judgements(plan) if j.held is False and j.on_failure == "stop"]
    if failed:
        raise GateFailed(
            "\n".join(judgement.sentence for judgement in failed),
            remedy="train longer before this point, change what is trained, relax the threshold, or say "
            "`on_failure: warn`; a changed threshold needs no new measurement",
        )


def _judge_gain(step: PlannedStep, gate: GainGate, result: dict[str, Any]) -> Judgement:
    gain = result.get("gain")
    held = None if gain is None else gain >= gate.min_gain
    names = f"{short_name(step.config.policy)} over {short_name(step.config.start)}"  # type: ignore[attr-defined]
    if gain is None:
        sentence = f"C1 could not be measured for {names}: no problem was scored for both"
    else:
        low, high = result["gain_interval"]
        sentence = (
            f"C1 {'holds' if held else 'does not hold'} for {names}: gain {100 * gain:+.1f} points "
            f"[{100 * low:+.1f}, {100 * high:+.1f}] on {result['problems']:,} held-out problems; "
            f"at least {100 * gate.min_gain:+.1f} is asked"
        )
    return Judgement(step=step.name, gate="C1", held=held, on_failure=gate.on_failure, sentence=sentence)


def _judge_distance(plan: Plan, step: PlannedStep, gate: DistanceGate, result: dict[str, Any]) -> Judgement:
    kl, overlap = result.get("reverse_kl"), result.get("top_k_overlap")
    policy, teacher = step.input("policy"), step.input("teacher")
    begins = any(
        other.config.stage == ON_POLICY
        and other.input("policy").fingerprint == policy.fingerprint
        and other.input("teacher").fingerprint == teacher.fingerprint
        for other in plan.steps
    )
    held = None
    if begins and kl is not None and overlap is not None:
        held = kl <= gate.max_reverse_kl and (gate.min_overlap is None or overlap >= gate.min_overlap)
    names = f"{short_name(policy.reference)} against {short_name(teacher.reference)}"
    if kl is None or overlap is None:
        sentence = f"C2 could not be measured for {names}: the student wrote no token"
    else:
        verdict = "measured" if held is None else "holds" if held else "does not hold"
        low, high = result["reverse_kl_interval"]
        asked = f"; at most {gate.max_reverse_kl:g} is asked" if begins else ""
        if begins and gate.min_overlap is not None:
            asked += f", with an overlap of at least {100 * gate.min_overlap:.0f} %"
        sentence = (
            f"C2 {verdict} for {names}: reverse KL {kl:.3g} nats per token [{low:.3g}, {high:.3g}], "
            f"top-{result['top_k']} overlap {100 * overlap:.0f} %{asked}"
        )
    return Judgement(step=step.name, gate="C2", held=held, on_failure=gate.on_failure, sentence=sentence)
