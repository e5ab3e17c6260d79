"""`plan`: what would run and what it takes, on one screen of 80 columns; every step's inputs and memory by `--verbose`.

Lines are never wrapped: a pipe gets them whole.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from reasoning_pipeline.base.text import ABSENT, amount, columns, counted
from reasoning_pipeline.base.text import hours as told_hours
from reasoning_pipeline.beside import LAUNCH
from reasoning_pipeline.commands.in_plans import labels_of, state, title, without_evaluations
from reasoning_pipeline.commands.options import add_arm_options, add_json_option, load, recipe_command

if TYPE_CHECKING:
    from reasoning_pipeline.estimates.steps import StepEstimate
    from reasoning_pipeline.hardware.profile import HardwareProfile
    from reasoning_pipeline.plan.graph import Plan, PlannedStep


def add(commands: argparse._SubParsersAction) -> None:
    parser = recipe_command(commands, "plan", _plan)
    add_arm_options(parser, without="every arm")
    add_json_option(parser)
    parser.add_argument("--verbose", action="store_true", help="every arm's steps, what each reads, and its memory")
    parser.add_argument(
        "--mean-completion", type=int, metavar="TOKENS", help="for the estimate (default: a quarter of the limit)"
    )
    parser.add_argument(
        "--follow-hub", action="store_true", help="take what branches of the hub mean now; the recipe stays at that"
    )


def _plan(arguments: argparse.Namespace) -> int:
    from reasoning_pipeline.estimates.steps import estimate_plan, refuse_what_cannot_fit
    from reasoning_pipeline.hardware.profile import load_profile
    from reasoning_pipeline.plan.compatibility import check_models

    profile = load_profile(arguments.hardware)
    if arguments.follow_hub:
        _follow(arguments)
    plan = load(arguments, sketch=True)
    estimates = {found.step: found for found in estimate_plan(plan, profile, arguments.mean_completion)}
    if arguments.json:
        check_models(plan)
        _print_json(plan, profile, estimates)
        return 0
    missing = [estimates[step.name] for step in plan.steps if not step.complete]
    if arguments.verbose:
        from reasoning_pipeline.commands import plan_details

        plan_details.print_steps(plan, profile)
        plan_details.print_estimates(missing, profile)
    else:
        _print_steps(plan, profile, estimates)
    check_models(plan)
    _print_sums(plan, profile, estimates, arguments.mean_completion)
    if not arguments.verbose:
        print("--verbose: what each step reads, what arms share, memory")
    refuse_what_cannot_fit(missing, profile)
    return 0


def _print_json(plan: Plan, profile: HardwareProfile, estimates: dict[str, StepEstimate]) -> None:
    """plan.json's content with the profile and each step's estimate; shape in docs/programs.md."""
    from reasoning_pipeline.estimates.layout import layout_of

    devices = layout_of(profile).devices
    values = plan.as_json() | {"profile": profile.name, "devices": devices}
    values["not_read"] = dict(plan.ledger.pools.not_read)
    for row in values["steps"]:
        found = estimates[row["name"]]
        row["estimate"] = {
            "tokens_written": found.tokens_written,
            "tokens_trained": found.tokens_trained,
            "flops": found.flops,
            "hours": found.hours,
            "gpu_hours": found.hours * devices if found.hours is not None else None,
            "disk_bytes": found.disk,
            "trainer_bytes": found.trainer_bytes,
        }
    print(json.dumps(values, indent=1, ensure_ascii=False))


def _follow(arguments: argparse.Namespace) -> None:
    from reasoning_pipeline.models.pins import Pins
    from reasoning_pipeline.recipe.reading import load_recipe

    recipe = load_recipe(arguments.recipe, arguments.overrides)
    told = Pins(arguments.root / recipe.name).follow()
    for line in told or ["every branch of the hub means what this recipe uses"]:
        print(line)


def _print_steps(plan: Plan, profile: HardwareProfile, estimates: dict[str, StepEstimate]) -> None:
    """The first arm's steps a row each, evaluations in the row of what they score; the other arms a row each."""
    print(title(plan, profile))
    first, *others = [arm for arm in plan.arms if arm.seed == plan.seeds[0]]
    own = set(first.steps.values())
    rows = [["step", "stage", "labels", "GPU-hours", "disk", "state"]]
    for step in without_evaluations([step for step in plan.steps if step.name in own]):
        scored = plan.evaluation_of(step.name)
        both = [step] if scored is None else [step, scored]
        rows.append(
            [step.name, step.config.stage, labels_of([step]), *_taken(both, profile, estimates), state(plan, step)]
        )
        if step.complete and scored is not None and not scored.complete:
            rows[-1][-1] = "to be scored"
    _print_table(rows)
    rows = [["arm", "steps", "labels", "GPU-hours", "disk", "state"]]
    for arm in others:
        steps = [plan.step(name) for name in dict.fromkeys(arm.steps.values())]
        news = [
            step for step in plan.steps if step.name in arm.steps.values() and step.users[0] == (arm.name, arm.seed)
        ]
        left = sum(not step.complete for step in news)
        does = f"{left} would run" if left else "complete" if news else ""
        shared = f"{len(news)} own, {len(steps) - len(news)} shared"
        rows.append([arm.name, shared, labels_of(steps), *_taken(news, profile, estimates), does])
    if others:
        print()
        _print_table(rows)


def _print_table(rows: list[list[str]]) -> None:
    """Without the columns that say nothing in any row."""
    kept = [number for number in range(len(rows[0])) if any(row[number] not in ("", ABSENT) for row in rows[1:])]
    right = [place for place, number in enumerate(kept) if rows[0][number] in ("labels", "GPU-hours", "disk")]
    for line in columns([[row[number] for number in kept] for row in rows], right=tuple(right)):
        print(line)


def _taken(steps: Sequence[PlannedStep], profile: HardwareProfile, estimates: dict[str, StepEstimate]) -> list[str]:
    """GPU-hours and disk of what is not complete."""
    found = [estimates[step.name] for step in steps if not step.complete]
    return [_of_gpus(_hours(found), profile), amount(sum(estimate.disk for estimate in found), "B")]


def _hours(estimates: Sequence[StepEstimate]) -> float | None:
    known = [estimate.hours for estimate in estimates if estimate.hours is not None]
    return sum(known) if known else None


def _of_gpus(hours: float | None, profile: HardwareProfile) -> str:
    from reasoning_pipeline.estimates.layout import layout_of

    if hours is None:
        return ABSENT
    taken = hours * layout_of(profile).devices
    return f"{taken:,.0f}" if taken >= 10 else f"{taken:.1f}" if taken >= 0.05 else "<0.1"


def _print_sums(
    plan: Plan, profile: HardwareProfile, estimates: dict[str, StepEstimate], mean_completion: int | None
) -> None:
    """What would run, labels, hours, disk, and what a reader would not expect."""
    todo = [step for step in plan.steps if not step.complete]
    print()
    print(
        f"{len(plan.steps) - len(todo)} of {len(plan.steps)} steps complete, evaluations included; "
        + (f"{len(todo)} would run" if todo else "nothing to run")
    )
    spent = {spend.pool: spend.labels for step in plan.steps for spend in step.spends}
    pools = ", ".join(f"{pool} {labels:,}" for pool, labels in spent.items()) or "none"
    print(f"labels in play: {sum(spent.values()):,} ({pools})")
    for line in (*_estimated([estimates[step.name] for step in todo], profile, mean_completion), *_notes(plan)):
        print(line)


def _estimated(missing: list[StepEstimate], profile: HardwareProfile, mean_completion: int | None) -> Iterator[str]:
    from reasoning_pipeline.estimates.layout import layout_of

    if not missing:
        return
    hours, devices = _hours(missing), layout_of(profile).devices
    if hours is not None:
        length = f"{mean_completion:,} tokens" if mean_completion else "a quarter of their limit"
        on = f"{told_hours(hours)} one after the other on {counted(devices, 'GPU')}"
        yield f"estimated: {_of_gpus(hours, profile)} GPU-hours, {on};"
        yield f"  completions of {length} (--mean-completion), {profile.utilisation:.0%} of the peak"
    disk, peak = sum(found.disk for found in missing), max(found.disk_while_running for found in missing)
    if disk or peak:
        yield f"disk: {amount(disk, 'B')}, and up to {amount(peak, 'B')} more while a step trains"
    unknown = sum(not (found.disk or found.tokens_written or found.tokens_trained or found.flops) for found in missing)
    if hours is not None and unknown:
        yield f"not estimated: {counted(unknown, 'step')}"


def _notes(plan: Plan) -> Iterator[str]:
    from reasoning_pipeline.plan.sharing import savings
    from reasoning_pipeline.recipe.model import MAIN

    for seed in plan.seeds[1:]:
        extra = [step for step in plan.steps if step.users[0][1] == seed]
        done = sum(step.complete for step in extra)
        yield f"seed {seed}: {counted(len(extra), 'more step')}, {done} complete (names end in @{seed})"
    if len(plan.arms) > 1:
        for saving in savings(plan):
            if saving.needed < saving.alone:
                yield (
                    f"shared: {saving.needed:,.0f} {saving.unit} instead of {saving.alone:,.0f}, "
                    f"{100 * saving.share:.0f} % saved"
                )
    if any(arm.name != MAIN for arm in plan.arms):
        yield "`run` alone runs main; `--arm NAME` or `--arms` runs others"
    for move in plan.pins.moved(ask=False):
        yield move.told(plan.named)
    for name, suites in plan.ledger.left_out.items():
        for suite, overlaps in suites.items():
            if count := len({overlap.train_id for overlap in overlaps}):
                yield f"left out of {name}: {count:,} problems that overlap {suite}"
    for name, why in plan.ledger.pools.not_read.items():
        most = plan.recipe.data[name].count
        yield f"data.{name} was not read: {why}."
        instead = f"{most:,} problems at most (`count`)" if most else "its problems are not counted"
        yield f"  Here: {instead}; what is complete cannot be known."
        yield f"  → {LAUNCH} prefetch {plan.named}"
