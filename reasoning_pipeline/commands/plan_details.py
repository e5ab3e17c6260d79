"""`plan --verbose`: every step of every arm with what it reads, then what each takes of memory, tokens and time."""

from __future__ import annotations

import shutil
import sys
import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING

from reasoning_pipeline.base.text import ABSENT, amount, columns, counted, hours
from reasoning_pipeline.commands.in_plans import labels_of, state, title, without_evaluations

if TYPE_CHECKING:
    from reasoning_pipeline.estimates.memory import ServerMemory
    from reasoning_pipeline.estimates.steps import StepEstimate
    from reasoning_pipeline.hardware.profile import HardwareProfile
    from reasoning_pipeline.plan.graph import Plan, PlannedStep


def print_steps(plan: Plan, profile: HardwareProfile) -> None:
    """The steps in order; an arm's own steps below its name."""
    from reasoning_pipeline.recipe.model import MAIN

    print(title(plan, profile))
    first = plan.seeds[0]
    arms = [arm for arm in plan.arms if arm.seed == first]
    numbers = {step.name: number for number, step in enumerate(without_evaluations(plan.steps), start=1)}
    shown: set[str] = set()
    for arm in arms:
        own = without_evaluations(
            [step for step in plan.steps if step.users[0] == (arm.name, first) and step.name not in shown]
        )
        shown |= {step.name for step in own}
        if len(plan.arms) > 1:
            print(f"\n{arm.name}" + (f"  {arm.description}" if arm.name != MAIN else ""))
        _print_own(plan, own, numbers, heading=arm is arms[0])
        if len(plan.arms) > 1:
            shared = len(set(arm.steps.values())) - len(own)
            note = [f"{counted(shared, 'step')} shared with arms above"] if shared else []
            note += [f"outcome {arm.outcome}"] if arm.outcome is not None else []
            print(f"    {'; '.join(note)}")


def _print_own(plan: Plan, steps: Sequence[PlannedStep], numbers: dict[str, int], *, heading: bool) -> None:
    """A line a step; on a terminal that is too narrow for it, what the step reads goes below its name."""
    rows = [["", "step", "labels", "state", "scored"]] if heading else []
    rows += [[str(numbers[s.name]), s.name, labels_of([s]), state(plan, s), _scored(plan, s)] for s in steps]
    if not rows:
        return
    does = ([""] if heading else []) + [_does(step) for step in steps]
    lines = columns(rows, right=(0, 2))
    widest = max(map(len, lines)) + 2
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else sys.maxsize
    below = widest + max(map(len, does)) > width
    for line, what in zip(lines, does, strict=True):
        print(line if below else f"{line.ljust(widest)}{what}".rstrip())
        if below and what:
            print(textwrap.fill(what, width, initial_indent=" " * 6, subsequent_indent=" " * 6))


def _scored(plan: Plan, step: PlannedStep) -> str:
    evaluation = plan.evaluation_of(step.name)
    return "" if evaluation is None else "yes" if evaluation.complete else "to do"


def _does(step: PlannedStep) -> str:
    """`forward_kl_warmup ← student_base, teacher teacher_rl`; that the first is the policy goes without saying."""
    inputs = [
        ("" if entry.field == "policy" else f"{entry.field} ") + (entry.step or entry.reference)
        for entry in step.inputs
    ]
    reads = "; ".join(filter(None, [", ".join(inputs), f"{step.prompts:,} questions" if step.prompts else ""]))
    return f"{step.config.stage} ← {reads}" if reads else step.config.stage


def print_estimates(estimates: list[StepEstimate], profile: HardwareProfile) -> None:
    """What each step that would run takes; the evaluations in one row."""
    evaluations = [estimate for estimate in estimates if estimate.evaluation]
    blank = [one for one in estimates if not (one.disk or one.tokens_written or one.tokens_trained)]
    rows = [_row(estimate) for estimate in estimates if estimate not in evaluations and estimate not in blank]
    rows += [_row(_sum(evaluations))] if evaluations else []
    if rows:
        heading = ["step", "written", "trained", "PFLOP", "hours", "disk", "a server device", "GiB of a trainer device"]
        print(f"\nestimated for {profile.name}")
        for line in columns([heading, *rows], right=(1, 2, 3, 4, 5)):
            print(f"  {line}")
    passes = dict.fromkeys(f"{e.step} {e.tokens_per_pass:,}" for e in estimates if e.tokens_per_pass is not None)
    if passes:
        print(f"tokens of a forward and backward pass, at most: {', '.join(passes)}")
    if blank:
        print(f"not estimated: {', '.join(estimate.step for estimate in blank)}")


def _row(estimate: StepEstimate) -> list[str]:
    return [
        estimate.step,
        amount(estimate.tokens_written),
        amount(estimate.tokens_trained),
        amount(estimate.flops / 1e15),
        hours(estimate.hours),
        amount(estimate.disk, "B"),
        _server(estimate.server),
        parts_line(estimate),
    ]


def _sum(evaluations: list[StepEstimate]) -> StepEstimate:
    from reasoning_pipeline.estimates.steps import StepEstimate

    known = [estimate.hours for estimate in evaluations if estimate.hours is not None]
    return StepEstimate(
        step=f"{len(evaluations)} evaluations",
        tokens_written=sum(estimate.tokens_written for estimate in evaluations),
        hours=sum(known) if known else None,
        disk=sum(estimate.disk for estimate in evaluations),
    )


def parts_line(estimate: StepEstimate) -> str:
    """`63.7: optimizer 15.3, activations 12.8, weights 7.6`: the sum and its largest parts."""
    from reasoning_pipeline.estimates.layout import GIB, largest

    if not estimate.trainer:
        return ABSENT
    return f"{estimate.trainer_bytes / GIB:.1f}: {largest(estimate.trainer)}"


def _server(server: ServerMemory | None) -> str:
    from reasoning_pipeline.estimates.layout import GIB

    if server is None:
        return ABSENT
    return f"weights {server.weights / GIB:.1f} GiB, cache {amount(server.tokens)} tokens"
