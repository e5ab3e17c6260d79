"""`run`: every step that is not complete, then the report."""

from __future__ import annotations

import argparse
import shlex
from typing import TYPE_CHECKING

from reasoning_pipeline.beside import PIPELINE
from reasoning_pipeline.commands.options import add_arm_options, as_given, recipe_command, seeds_of, store_of
from reasoning_pipeline.commands.report import write_report

if TYPE_CHECKING:
    from reasoning_pipeline.plan.graph import Plan


def add(commands: argparse._SubParsersAction) -> None:
    run = recipe_command(commands, "run", _run)
    add_arm_options(run, without="main, the recipe's own steps")
    run.add_argument("--only", metavar="STEP", help="this step alone; what it reads must be complete")
    run.add_argument("--until", metavar="STEP", help="up to this step: it and everything it needs")


def _run(arguments: argparse.Namespace) -> int:
    from rich.console import Console

    from reasoning_pipeline.doctor.examine import BEFORE_A_RUN, refuse
    from reasoning_pipeline.doctor.subject import Subject
    from reasoning_pipeline.hardware.profile import load_profile
    from reasoning_pipeline.recipe.reading import MAIN, load_recipe
    from reasoning_pipeline.run.runner import Runner

    console = Console()
    recipe = load_recipe(arguments.recipe, arguments.overrides)
    again = f"{PIPELINE} {shlex.join(arguments.words)}"
    given = as_given(arguments)
    profile, store = load_profile(arguments.hardware), store_of(arguments)

    def look(plan: Plan) -> None:
        refuse(Subject(plan=plan, profile=profile, root=store, runs_here=True), BEFORE_A_RUN)

    runner = Runner(recipe, profile, arguments.root, console, store=store, before=look, again=again, given=given)
    plan, ran = runner.run(
        arms=arguments.arms or (MAIN,),
        seeds=seeds_of(arguments, recipe),
        only=arguments.only,
        until=arguments.until,
    )
    if not ran:
        console.print("everything is up to date", highlight=False)
    write_report(plan, arguments.root, renew=ran > 0)
    return 0
