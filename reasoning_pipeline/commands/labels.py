"""`labels`: who spends what."""

from __future__ import annotations

import argparse
import json
from collections import Counter
from typing import TYPE_CHECKING

from rich.table import Table

from reasoning_pipeline.base.text import ABSENT, console, counted
from reasoning_pipeline.commands.options import add_arm_options, add_json_option, load, recipe_command

if TYPE_CHECKING:
    from rich.console import Console

    from reasoning_pipeline.plan.account import Account, ArmAccount
    from reasoning_pipeline.plan.graph import Plan


def add(commands: argparse._SubParsersAction) -> None:
    parser = recipe_command(commands, "labels", _labels)
    add_arm_options(parser, without="every arm")
    add_json_option(parser)


def _labels(arguments: argparse.Namespace) -> int:
    from reasoning_pipeline.plan.account import account

    plan = load(arguments)
    found = account(plan)
    if arguments.json:
        print(json.dumps(found.as_json(), indent=1, ensure_ascii=False))
    else:
        _print_labels(plan, found)
    return 0


def _print_labels(plan: Plan, account: Account) -> None:
    """Who spends what, arm by arm; then what became of each data set's rows."""
    out = console()
    out.print(f"labels of {plan.recipe.name}, along the lineage of each arm's outcome")
    shown: Counter[tuple[str, ...]] = Counter()
    for arm in account.arms:
        alike = (arm.arm, *(f"{entry.pool} {entry.labels} {entry.prompts}" for entry in arm.entries))
        shown[alike] += 1
        if shown[alike] == 1:  # another seed spends as many
            _print_arm(out, arm, seeds=len(plan.seeds) > 1)
    for data in account.data:
        out.print(f"\n[bold]data {data.name}[/bold]: {counted(data.problems, 'problem')}")
        for count, what in (
            (data.repeated, "repeated rows dropped"),
            (data.without_answer, "rows without an answer set aside"),
            (len(data.conflicts), "questions set aside, whose rows give different answers"),
            *((count, f"left out, since they overlap {suite}") for suite, count in data.overlaps.items()),
        ):
            if count:
                out.print(f"  {count:>9,} {what}")
        for conflict in data.conflicts[:3]:
            answers, places = " or ".join(conflict["answers"]), ", ".join(conflict["places"])
            out.print(f"            {answers}: {places}", markup=False)
        for suite, count in data.overlaps.items():
            if not count:
                out.print(f"          none overlaps {suite}")
        for suite, why in data.unknown.items():
            out.print(f"          not known for {suite}: {why}")
        for pool, count in data.pools.items():
            out.print(f"  {count:>9,} in the pool {pool}{' (by file)' if pool in data.by_file else ''}")
        if data.pools and data.in_no_pool:
            out.print(f"  {data.in_no_pool:>9,} in no pool")


def _print_arm(out: Console, arm: ArmAccount, *, seeds: bool) -> None:
    scope = ", under each seed" if seeds else ""
    again = f", {arm.uses - arm.bought:,} of them used again" if arm.uses != arm.bought else ""
    out.print(f"\n[bold]{arm.arm}[/bold]: {arm.bought:,} labels{again}{scope}; outcome {arm.outcome or ABSENT}")
    table = Table(box=None, pad_edge=False, header_style="dim")
    for heading in ("  step", "pool", "labels", "questions", ""):
        justify = "right" if heading in ("labels", "questions") else "left"
        table.add_column(heading, justify=justify, overflow="fold")  # type: ignore[arg-type]
    for entry in arm.entries:
        cells = (f"{entry.labels:,}" if entry.labels else ABSENT, f"{entry.prompts:,}" if entry.prompts else ABSENT)
        table.add_row(f"  {entry.step}", entry.pool, *cells, "replay" if entry.replay else "")
    if arm.entries:
        out.print(table)
    for entry in arm.measured:
        out.print(f"  {entry.step} scores with {entry.measured:,} answers of {entry.pool}; nothing learns from them")
    if arm.untouched:
        out.print(f"  untouched: {', '.join(arm.untouched)}")
