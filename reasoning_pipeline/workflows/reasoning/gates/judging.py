"""C1 and C2 as they were measured, against the thresholds that the recipe asks for."""

from __future__ import annotations

from typing import Any

from reasoning_pipeline.plan.graph import Plan, PlannedStep
from reasoning_pipeline.plan.judging import Judge, Judgement
from reasoning_pipeline.workflows.reasoning.gates.asked import DistanceGate, GainGate, gates_of
from reasoning_pipeline.workflows.reasoning.gates.measuring import DIVERGENCE, GAIN, ON_POLICY, short_name


class GateJudge(Judge):
    """Of the measurements that `gates` puts into a plan."""

    def judge(self, plan: Plan, step: PlannedStep) -> Judgement | None:
        gate = _gate(plan, step)
        if gate is None or step.artifact is None:
            return None
        if isinstance(gate, GainGate):
            return _judge_gain(step, gate, step.artifact.record.result)
        return _judge_distance(plan, step, gate, step.artifact.record.result)

    def may_stop(self, plan: Plan, step: PlannedStep) -> bool:
        gate = _gate(plan, step)
        return gate is not None and gate.on_failure == "stop"


def _gate(plan: Plan, step: PlannedStep) -> GainGate | DistanceGate | None:
    """What the recipe asks of a step that measures."""
    gates = gates_of(plan.recipe)
    if gates is None:
        return None
    return {GAIN: gates.c1, DIVERGENCE: gates.c2}.get(step.config.stage)


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
