"""`advise`: what decides on the map whether the workflow pays, measured of one's own recipe before any training."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from reasoning_pipeline.beside import FOLDER
from reasoning_pipeline.commands.options import add_json_option, recipe_command, store_of

if TYPE_CHECKING:
    from rich.console import Console

    from reasoning_pipeline.plan.graph import Plan

MAP = FOLDER / "docs" / "figures" / "map.csv"
SHOWN = 3
"""Cells of the map that are told beside a case."""


def add(commands: argparse._SubParsersAction) -> None:
    parser = recipe_command(commands, "advise", _advise)
    parser.add_argument("--map", type=Path, default=MAP, metavar="FILE", help="default: docs/figures/map.csv")
    parser.add_argument("--dry-run", action="store_true", help="print what the probe would cost, and stop")
    add_json_option(parser)


def _advise(arguments: argparse.Namespace) -> int:
    from rich.console import Console

    from reasoning_pipeline.data.unread import SketchedPools
    from reasoning_pipeline.hardware.profile import load_profile
    from reasoning_pipeline.plan.planner import make_plan
    from reasoning_pipeline.recipe.reading import load_recipe
    from reasoning_pipeline.report.answers import read_means
    from reasoning_pipeline.run.runner import Runner
    from reasoning_pipeline.workflows.reasoning import advice, pays
    from reasoning_pipeline.workflows.reasoning.probe import probed, read_probe

    recipe = load_recipe(arguments.recipe, arguments.overrides)
    measuring, profile, store = probed(recipe), load_profile(arguments.hardware), store_of(arguments)
    # Progress goes beside what is read: a program that asks for JSON gets nothing else.
    console = Console(highlight=False, stderr=arguments.json)
    _print_cost(console, make_plan(measuring, arguments.root, (), SketchedPools, store=store), arguments)
    if arguments.dry_run:
        return 0
    measured, _ = Runner(measuring, profile, arguments.root, console, store=store).run()
    probe = read_probe(measured, make_plan(recipe, arguments.root, store=store), read_means)
    cells = pays.read_map(arguments.map) if arguments.map.is_file() else []
    case = advice.placed_case(recipe, measured, probe, cells)
    if arguments.json:
        print(advice.as_json(case))
    else:
        for line in advice.told(case, shown=SHOWN):
            console.print(line, soft_wrap=True)
    return 0


def _print_cost(console: Console, plan: Plan, arguments: argparse.Namespace) -> None:
    """What the probe writes, and what it needs first, before anything is started."""
    from reasoning_pipeline.estimates.steps import estimate_plan
    from reasoning_pipeline.hardware.profile import load_profile
    from reasoning_pipeline.workflows.reasoning.probe import ASKED, DISTANCE

    todo = [step for step in plan.steps if not step.complete]
    estimates = {e.step: e for e in estimate_plan(plan, load_profile(arguments.hardware), None)}
    made = [step.name for step in todo if step.name not in (ASKED, DISTANCE)]
    if made:
        first = f"first the recipe's own base models, which its run needs too: {', '.join(made)}"
        console.print(first, soft_wrap=True)
    probes = [estimates[step.name] for step in todo if step.name in (ASKED, DISTANCE) and step.name in estimates]
    tokens = sum(estimate.tokens_written for estimate in probes)
    hours = [estimate.hours for estimate in probes if estimate.hours is not None]
    spent = f", about {60 * sum(hours):.0f} minutes" if hours else ""
    console.print(
        f"the probe: {tokens:,.0f} tokens written by student and teacher{spent}; no training, no label is spent"
        if todo
        else "the probe has been made already",
        soft_wrap=True,
    )
