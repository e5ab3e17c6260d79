"""The plan and its label account on a terminal, legible from 80 columns on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from reasoning_pipeline.hardware.profile import HardwareProfile
from reasoning_pipeline.plan.account import Account, ArmAccount
from reasoning_pipeline.plan.graph import Plan, PlannedStep
from reasoning_pipeline.plan.sharing import savings
from reasoning_pipeline.recipe.model import MAIN
from reasoning_pipeline.recipe.stage import Evaluation

WIDE = 110
"""Columns from which on a step takes one line."""


def print_plan(plan: Plan, profile: HardwareProfile) -> None:
    """The steps in order, what each reads and spends, and what would run; an arm's own steps below its name."""
    console = Console(highlight=False)
    several = len(plan.arms) > 1
    first = plan.seeds[0]
    seeds = f", seeds {', '.join(map(str, plan.seeds))}" if len(plan.seeds) > 1 else ""
    arms = [arm for arm in plan.arms if arm.seed == first]
    console.print(f"{plan.recipe.name} on {profile.name}" + (f": {_count(len(arms), 'arm')}{seeds}" if several else ""))
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
            note = [f"{_count(shared, 'step')} shared with arms above"] if shared else []
            note += [f"outcome {arm.outcome}"] if arm.outcome is not None else []
            console.print(Padding(Text("; ".join(note), style="dim"), (0, 0, 0, 4)))
    for seed in plan.seeds[1:]:
        extra = [step for step in plan.steps if step.users[0][1] == seed]
        done = sum(step.complete for step in extra)
        console.print(f"seed {seed}: {_count(len(extra), 'more step')}, {done} complete (names end in @{seed})")
    console.print()
    _print_summary(console, plan, several)


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}" + ("" if number == 1 else "s")


def _rows(steps: Sequence[PlannedStep]) -> list[PlannedStep]:
    """All but evaluations, which stand with the checkpoint that they score."""
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
    return " + ".join(f"{spend.labels:,}{' again' if spend.replay else ''}" for spend in step.spends) or "–"


def _state(plan: Plan, step: PlannedStep) -> str:
    if step.complete:
        return "complete"
    if (plan.registry.root / "work" / step.output / "checkpoints").is_dir():
        return "would resume"
    return "would run" if plan.registry.removed(step.output) is None else "would run again"  # its artifact was removed


def _print_summary(console: Console, plan: Plan, several: bool) -> None:
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
    for name, suites in plan.ledger.left_out.items():
        for suite, overlaps in suites.items():
            if count := len({overlap.train_id for overlap in overlaps}):
                console.print(f"left out of {name}: {count:,} problems that overlap {suite}")


def print_labels(plan: Plan, account: Account) -> None:
    """Who spends what, arm by arm; then what became of each data set's rows."""
    console = Console(highlight=False)
    console.print(f"labels of {plan.recipe.name}, along the lineage of each arm's outcome")
    shown: Counter[tuple[str, ...]] = Counter()
    for arm in account.arms:
        alike = (arm.arm, *(f"{entry.pool} {entry.labels} {entry.prompts}" for entry in arm.entries))
        shown[alike] += 1
        if shown[alike] == 1:  # another seed spends as many
            _print_arm(console, arm, seeds=len(plan.seeds) > 1)
    for data in account.data:
        console.print(f"\n[bold]data {data.name}[/bold]: {_count(data.problems, 'problem')}")
        for count, what in (
            (data.repeated, "repeated rows dropped"),
            (data.without_answer, "rows without an answer set aside"),
            (len(data.conflicts), "questions set aside, whose rows give different answers"),
            *((count, f"left out, since they overlap {suite}") for suite, count in data.overlaps.items()),
        ):
            if count:
                console.print(f"  {count:>9,} {what}")
        for conflict in data.conflicts[:3]:
            answers, places = " or ".join(conflict["answers"]), ", ".join(conflict["places"])
            console.print(f"            {answers}: {places}", markup=False)
        for suite, count in data.overlaps.items():
            if not count:
                console.print(f"          none overlaps {suite}")
        for suite, why in data.unknown.items():
            console.print(f"          not known for {suite}: {why}")
        for pool, count in data.pools.items():
            console.print(f"  {count:>9,} in the pool {pool}{' (by file)' if pool in data.by_file else ''}")
        if data.pools and data.in_no_pool:
            console.print(f"  {data.in_no_pool:>9,} in no pool")


def _print_arm(console: Console, arm: ArmAccount, *, seeds: bool) -> None:
    scope = ", under each seed" if seeds else ""
    again = f", {arm.uses - arm.bought:,} of them used again" if arm.uses != arm.bought else ""
    console.print(f"\n[bold]{arm.arm}[/bold]: {arm.bought:,} labels{again}{scope}; outcome {arm.outcome or '–'}")
    table = Table(box=None, pad_edge=False, header_style="dim")
    for heading in ("  step", "pool", "labels", "questions", ""):
        justify = "right" if heading in ("labels", "questions") else "left"
        table.add_column(heading, justify=justify, overflow="fold")  # type: ignore[arg-type]
    for entry in arm.entries:
        cells = (f"{entry.labels:,}" if entry.labels else "–", f"{entry.prompts:,}" if entry.prompts else "–")
        table.add_row(f"  {entry.step}", entry.pool, *cells, "replay" if entry.replay else "")
    if arm.entries:
        console.print(table)
    for entry in arm.measured:
        console.print(
            f"  {entry.step} scores with {entry.measured:,} answers of {entry.pool}; nothing learns from them"
        )
    if arm.untouched:
        console.print(f"  untouched: {', '.join(arm.untouched)}")
