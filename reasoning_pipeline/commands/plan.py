"""`plan`: the steps in order, what each costs, what would run; legible from 80 columns on."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from reasoning_pipeline.base.text import ABSENT, amount, counted, hours
from reasoning_pipeline.beside import LAUNCH
from reasoning_pipeline.commands.options import add_arm_options, add_json_option, load, recipe_command

if TYPE_CHECKING:
    from reasoning_pipeline.estimates.memory import ServerMemory
    from reasoning_pipeline.estimates.steps import StepEstimate
    from reasoning_pipeline.hardware.profile import HardwareProfile
    from reasoning_pipeline.plan.graph import Plan, PlannedStep

WIDE = 110
"""Columns from which on a step takes one line."""


def add(commands: argparse._SubParsersAction) -> None:
    parser = recipe_command(commands, "plan", _plan)
    add_arm_options(parser, without="every arm")
    add_json_option(parser)
    parser.add_argument("--estimate", action="store_true", help="memory, tokens, hours, disk; always shown for GPUs")
    parser.add_argument(
        "--mean-completion", type=int, metavar="TOKENS", help="for it (default: a quarter of the limit)"
    )
    parser.add_argument(
        "--follow-hub", action="store_true", help="take what branches of the hub mean now; the recipe stays at that"
    )


def _plan(arguments: argparse.Namespace) -> int:
    from reasoning_pipeline.hardware.profile import load_profile
    from reasoning_pipeline.plan.compatibility import check_models

    profile = load_profile(arguments.hardware)
    if arguments.follow_hub:
        _follow(arguments)
    plan = load(arguments, sketch=True)
    if arguments.json:
        _print_json(plan, profile, arguments.mean_completion)
        return 0
    _print_plan(plan, profile)
    check_models(plan)
    _print_estimates(plan, profile, arguments.mean_completion, shown=arguments.estimate or profile.device == "cuda")
    return 0


def _print_json(plan: Plan, profile: HardwareProfile, mean_completion: int | None) -> None:
    """plan.json's content with the profile and each step's estimate; shape in docs/sizing.md."""
    from reasoning_pipeline.estimates.steps import estimate_plan

    values = plan.as_json() | {"profile": profile.name, "not_read": dict(plan.ledger.pools.not_read)}
    for row, found in zip(values["steps"], estimate_plan(plan, profile, mean_completion), strict=True):
        row["estimate"] = {
            "tokens_written": found.tokens_written,
            "tokens_trained": found.tokens_trained,
            "flops": found.flops,
            "hours": found.hours,
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


def _print_plan(plan: Plan, profile: HardwareProfile) -> None:
    """The steps in order, what each reads and spends, and what would run; an arm's own steps below its name."""
    from reasoning_pipeline.recipe.model import MAIN

    console = Console(highlight=False)
    several = len(plan.arms) > 1
    first = plan.seeds[0]
    seeds = f", seeds {', '.join(map(str, plan.seeds))}" if len(plan.seeds) > 1 else ""
    arms = [arm for arm in plan.arms if arm.seed == first]
    console.print(
        f"{plan.recipe.name} on {profile.name}" + (f": {counted(len(arms), 'arm')}{seeds}" if several else "")
    )
    numbers = {step.name: number for number, step in enumerate(_rows(plan.steps), start=1)}
    shown: set[str] = set()
    for arm in arms:
        own = [step for step in _rows(plan.steps) if step.users[0] == (arm.name, first) and step.name not in shown]
        shown |= {step.name for step in own}
        if several:
            text = f"[bold]{arm.name}[/bold]" + (f"  [dim]{arm.description}[/dim]" if arm.name != MAIN else "")
            console.print(Padding(text, (1, 0, 0, 0)))
        if own:
            wide = console.width >= WIDE
            console.print(_steps(plan, own, numbers, wide=wide, heading=arm is arms[0]))
        if several:
            shared = len(set(arm.steps.values())) - len(own)
            note = [f"{counted(shared, 'step')} shared with arms above"] if shared else []
            note += [f"outcome {arm.outcome}"] if arm.outcome is not None else []
            console.print(Padding(Text("; ".join(note), style="dim"), (0, 0, 0, 4)))
    for seed in plan.seeds[1:]:
        extra = [step for step in plan.steps if step.users[0][1] == seed]
        done = sum(step.complete for step in extra)
        console.print(f"seed {seed}: {counted(len(extra), 'more step')}, {done} complete (names end in @{seed})")
    console.print()
    _print_summary(console, plan, several)


def _rows(steps: Sequence[PlannedStep]) -> list[PlannedStep]:
    """All but evaluations, which stand with the checkpoint that they score."""
    from reasoning_pipeline.recipe.stage import Evaluation

    return [step for step in steps if not isinstance(step.config, Evaluation)]


def _steps(plan: Plan, steps: Sequence[PlannedStep], numbers: dict[str, int], *, wide: bool, heading: bool) -> Table:
    table = Table(box=None, pad_edge=False, show_header=heading, header_style="dim", expand=True)
    table.add_column("", justify="right", no_wrap=True, min_width=3)
    table.add_column("step", overflow="fold", ratio=2)
    if wide:
        table.add_column("stage ← what it reads", overflow="fold", ratio=3)
    table.add_column("labels", justify="right", no_wrap=True, min_width=9)
    table.add_column("state", no_wrap=True, min_width=12)
    table.add_column("scored", no_wrap=True, min_width=6)
    for step in steps:
        does = Padding(Text(_does(step), style="dim"), (0, 0, 0, 0 if wide else 2))
        evaluation = plan.evaluation_of(step.name)
        scored = "" if evaluation is None else "yes" if evaluation.complete else "to do"
        what: list[RenderableType] = [step.name, does] if wide else [Group(step.name, does)]
        table.add_row(str(numbers[step.name]), *what, _labels(step), _state(plan, step), scored)
    return table


def _does(step: PlannedStep) -> str:
    """`forward_kl_warmup ← student_base, teacher teacher_rl`; that the first is the policy goes without saying."""
    inputs = [
        ("" if entry.field == "policy" else f"{entry.field} ") + (entry.step or entry.reference)
        for entry in step.inputs
    ]
    reads = "; ".join(filter(None, [", ".join(inputs), f"{step.prompts:,} questions" if step.prompts else ""]))
    return f"{step.config.stage} ← {reads}" if reads else step.config.stage


def _labels(step: PlannedStep) -> str:
    return " + ".join(f"{spend.labels:,}{' again' if spend.replay else ''}" for spend in step.spends) or ABSENT


def _state(plan: Plan, step: PlannedStep) -> str:
    if step.complete:
        return "complete"
    if (plan.registry.root / "work" / step.output / "checkpoints").is_dir():
        return "would resume"
    return "would run" if plan.registry.removed(step.output) is None else "would run again"  # its artifact was removed


def _print_summary(console: Console, plan: Plan, several: bool) -> None:
    from reasoning_pipeline.plan.sharing import savings
    from reasoning_pipeline.recipe.model import MAIN

    todo = [step for step in plan.steps if not step.complete]
    console.print(
        f"{len(plan.steps) - len(todo)} of {len(plan.steps)} steps complete, evaluations included; "
        + (f"{len(todo)} would run" if todo else "nothing to run")
    )
    spent = {spend.pool: spend.labels for step in plan.steps for spend in step.spends}
    pools = ", ".join(f"{pool} {labels:,}" for pool, labels in spent.items()) or "none"
    console.print(f"labels in play: {sum(spent.values()):,} ({pools})")
    if several:
        for saving in savings(plan):
            console.print(
                f"shared: {saving.needed:,.0f} {saving.unit} instead of {saving.alone:,.0f}, "
                f"{100 * saving.share:.0f} % saved"
            )
    if any(arm.name != MAIN for arm in plan.arms):
        console.print("`run` alone runs main; `--arm NAME` or `--arms` runs others")
    for move in plan.pins.moved(ask=False):
        console.print(move.told(plan.recipe.path), soft_wrap=True)
    for name, suites in plan.ledger.left_out.items():
        for suite, overlaps in suites.items():
            if count := len({overlap.train_id for overlap in overlaps}):
                console.print(f"left out of {name}: {count:,} problems that overlap {suite}")


def _print_estimates(plan: Plan, profile: HardwareProfile, mean_completion: int | None, *, shown: bool) -> None:
    """The estimate of what would run, as `plan` prints it; says first which data could not be read.

    Raises:
        RecipeError: A step cannot fit on the profile's devices; says which number is too large and what to change.
    """
    from reasoning_pipeline.estimates.steps import estimate_plan, refuse_what_cannot_fit

    _say_what_was_not_read(plan)
    estimates = [
        estimate
        for step, estimate in zip(plan.steps, estimate_plan(plan, profile, mean_completion), strict=True)
        if not step.complete
    ]
    if shown and estimates:
        _print_estimated(estimates, profile, mean_completion)
    refuse_what_cannot_fit(estimates, profile)


def _say_what_was_not_read(plan: Plan) -> None:
    pools = plan.ledger.pools
    for name, why in pools.not_read.items():
        count = plan.recipe.data[name].count
        instead = f"{count:,} problems at most, as `count` says" if count else "its problems are not counted"
        Console(highlight=False).print(
            f"data.{name} was not read: {why}.\n  Here: {instead}; what is complete already cannot be known.\n"
            f"  → {LAUNCH} prefetch {plan.recipe.path}",
            soft_wrap=True,
        )


def _print_estimated(estimates: list[StepEstimate], profile: HardwareProfile, mean_completion: int | None) -> None:

    console = Console(highlight=False)
    table = Table(title=f"estimated for {profile.name}", title_justify="left", box=None, pad_edge=False)
    table.add_column("step", no_wrap=True)
    for heading in ("written", "trained", "PFLOP", "hours", "disk"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("GiB of a trainer device", overflow="fold")
    table.add_column("of a server device", overflow="fold")
    evaluations = [estimate for estimate in estimates if estimate.evaluation]
    blank = [estimate for estimate in estimates if not (estimate.disk or estimate.tokens_written)]
    for estimate in [estimate for estimate in estimates if estimate not in evaluations and estimate not in blank]:
        table.add_row(*_row(estimate))
    if evaluations:
        table.add_row(*_row(_sum(evaluations)))
    console.print(table)
    known = [estimate.hours for estimate in estimates if estimate.hours is not None]
    peak = max(estimate.disk_while_running for estimate in estimates)
    devices = counted(profile.processes, "trainer device")
    together = f"{sum(known):,.1f} hours one after the other with {devices}; " if known else ""
    length = (
        f"{mean_completion:,} tokens a completion" if mean_completion else "completions of a quarter of their limit"
    )
    console.print(
        f"{together}{amount(sum(estimate.disk for estimate in estimates), 'B')} of disk, and up to "
        f"{amount(peak, 'B')} more while a step trains\nassumed: {length} on average (--mean-completion), "
        f"{profile.utilisation:.0%} of the devices' peak; memory is for the longest rows"
    )
    passes = dict.fromkeys(f"{e.step} {e.tokens_per_pass:,}" for e in estimates if e.tokens_per_pass is not None)
    if passes:
        console.print(f"tokens of a forward and backward pass, at most: {', '.join(passes)}")
    if blank:
        console.print(f"not estimated: {', '.join(estimate.step for estimate in blank)}")


def _row(estimate: StepEstimate) -> list[str]:
    return [
        estimate.step,
        amount(estimate.tokens_written),
        amount(estimate.tokens_trained),
        amount(estimate.flops / 1e15),
        hours(estimate.hours),
        amount(estimate.disk, "B"),
        parts_line(estimate),
        _server(estimate.server),
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
