"""`plan`, `run`, `report`: the commands that take a recipe."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from reasoning_pipeline.commands.arm_options import add_arm_options, seeds_of

if TYPE_CHECKING:
    from reasoning_pipeline.plan.graph import Plan


def add(commands: argparse._SubParsersAction) -> None:
    plan = recipe_command(commands, "plan", "the steps in order, what they read and spend, what would run", _plan)
    add_arm_options(plan, without="every arm")
    plan.add_argument("--estimate", action="store_true", help="memory, tokens, hours, disk; always shown for GPUs")
    plan.add_argument("--mean-completion", type=int, metavar="TOKENS", help="for it (default: a quarter of the limit)")
    run = recipe_command(commands, "run", "run what is not complete; writes the report at the end", _run)
    add_arm_options(run, without="main, the recipe's own steps")
    run.add_argument("--only", metavar="STEP", help="this step alone; what it reads must be complete")
    run.add_argument("--until", metavar="STEP", help="up to this step: it and everything it needs")
    report = recipe_command(commands, "report", "write the report of what is complete", _report)
    add_arm_options(report, without="every arm, under the recipe's `seeds`")
    report.add_argument("--out", type=Path, help="HTML file (default: ROOT/RECIPE/report.html)")


def recipe_command(
    commands: argparse._SubParsersAction, name: str, text: str, function: Callable[[argparse.Namespace], int]
) -> argparse.ArgumentParser:
    """A command whose first argument is a recipe, with the options that all of them share."""
    parser: argparse.ArgumentParser = commands.add_parser(name, help=text, description=text)
    parser.add_argument("recipe", type=Path, help="YAML file, e.g. recipes/arithmetic.yaml")
    parser.add_argument(
        "--hardware",
        metavar="PROFILE",
        help="a file in reasoning_pipeline/hardware/profiles/ by name, or a path (default: cpu)",
    )
    parser.add_argument(
        "--set",
        metavar="PATH=VALUE",
        action="append",
        default=[],
        dest="overrides",
        help="change a value of the recipe, e.g. steps.distill.learning_rate=2e-6 (may be repeated)",
    )
    parser.add_argument("--root", type=Path, default=Path("runs"), help="where registry and runs live (default: runs)")
    parser.set_defaults(command=function)
    return parser


def load(arguments: argparse.Namespace, *, declared_seeds: bool = False, sketch: bool = False) -> Plan:
    """The plan that a command line names: the arms it asks for, all where it names none, under its seeds.

    Args:
        declared_seeds: Without `--seeds`, take the recipe's list `seeds`.
        sketch: Download nothing: data that is not on this machine is counted as the recipe declares it.
    """
    from reasoning_pipeline.data.pools import Pools
    from reasoning_pipeline.data.unread import SketchedPools
    from reasoning_pipeline.plan.planner import make_plan
    from reasoning_pipeline.recipe.reading import load_recipe

    recipe = load_recipe(arguments.recipe, arguments.overrides)
    pools = SketchedPools if sketch else Pools
    plan = make_plan(recipe, arguments.root, seeds_of(arguments, recipe, declared=declared_seeds), pools)
    arms = getattr(arguments, "arms", None)
    return plan.of_arms(arms) if arms else plan


def _plan(arguments: argparse.Namespace) -> int:
    from reasoning_pipeline.estimates.display import show_estimates
    from reasoning_pipeline.hardware.profile import load_profile
    from reasoning_pipeline.plan_display import print_plan

    profile = load_profile(arguments.hardware)
    plan = load(arguments, sketch=True)
    print_plan(plan, profile)
    show_estimates(plan, profile, arguments.mean_completion, shown=arguments.estimate or profile.device == "cuda")
    return 0


def _run(arguments: argparse.Namespace) -> int:
    from rich.console import Console

    from reasoning_pipeline.hardware.profile import load_profile
    from reasoning_pipeline.recipe.reading import MAIN, load_recipe
    from reasoning_pipeline.run.runner import Runner

    console = Console()
    recipe = load_recipe(arguments.recipe, arguments.overrides)
    runner = Runner(recipe, load_profile(arguments.hardware), arguments.root, console)
    plan, ran = runner.run(
        arms=arguments.arms or (MAIN,),
        seeds=seeds_of(arguments, recipe),
        only=arguments.only,
        until=arguments.until,
    )
    if not ran:
        console.print("everything is up to date", highlight=False)
    _write_report(plan, arguments.root, renew=ran > 0)
    return 0


def _report(arguments: argparse.Namespace) -> int:
    _write_report(load(arguments, declared_seeds=True), arguments.root, renew=True, out=arguments.out)
    return 0


def _write_report(plan: Plan, root: Path, *, renew: bool, out: Path | None = None) -> None:
    from rich.console import Console

    from reasoning_pipeline import report

    path = out or root / plan.recipe.name / "report.html"
    if renew or report.has_arms(plan) or not path.is_file():  # the page there may be about other arms
        path.parent.mkdir(parents=True, exist_ok=True)
        report.write_report(plan, path)
        report.write_csv(plan, path.with_suffix(".csv"))
        if report.has_arms(plan):
            report.write_arms_csv(plan, path.with_name(f"{path.stem}_arms.csv"))
            report.write_part_tables(plan, path)
    console = Console()
    console.print(report.arms_table(plan) if report.has_arms(plan) else report.results_table(plan))
    console.print(f"report: {path}", highlight=False, soft_wrap=True)
