"""`plan`, `run`, `report`: the commands that take a recipe."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from reasoning_pipeline.plan import Plan


def add(commands: argparse._SubParsersAction) -> None:
    recipe_command(commands, "plan", "the steps in order, what they read and spend, what would run", _plan)
    run = recipe_command(commands, "run", "run what is not complete; writes the report at the end", _run)
    run.add_argument("--only", metavar="STEP", help="this step alone; what it reads must be complete")
    run.add_argument("--until", metavar="STEP", help="up to this step: it and everything it needs")
    report = recipe_command(commands, "report", "write the report of what is complete", _report)
    report.add_argument("--out", type=Path, help="HTML file (default: ROOT/RECIPE/report.html)")


def recipe_command(
    commands: argparse._SubParsersAction, name: str, text: str, function: Callable[[argparse.Namespace], int]
) -> argparse.ArgumentParser:
    """A command whose first argument is a recipe, with the options that all of them share."""
    parser: argparse.ArgumentParser = commands.add_parser(name, help=text, description=text)
    parser.add_argument("recipe", type=Path, help="YAML file, e.g. recipes/arithmetic.yaml")
    parser.add_argument(
        "--hardware", metavar="PROFILE", help="a file in recipes/hardware/ by name, or a path (default: cpu)"
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


def load(arguments: argparse.Namespace) -> Plan:
    """The plan of the recipe that a command line names."""
    from reasoning_pipeline.plan import make_plan
    from reasoning_pipeline.recipe import load_recipe

    return make_plan(load_recipe(arguments.recipe, arguments.overrides), arguments.root)


def _plan(arguments: argparse.Namespace) -> int:
    from reasoning_pipeline.display import print_plan
    from reasoning_pipeline.hardware import load_profile

    profile = load_profile(arguments.hardware)
    print_plan(load(arguments), profile)
    return 0


def _run(arguments: argparse.Namespace) -> int:
    from rich.console import Console

    from reasoning_pipeline.hardware import load_profile
    from reasoning_pipeline.recipe import load_recipe
    from reasoning_pipeline.runner import Runner

    console = Console()
    recipe = load_recipe(arguments.recipe, arguments.overrides)
    runner = Runner(recipe, load_profile(arguments.hardware), arguments.root, console)
    plan, ran = runner.run(only=arguments.only, until=arguments.until)
    if not ran:
        console.print("everything is up to date", highlight=False)
    _write_report(plan, arguments.root, renew=ran > 0)
    return 0


def _report(arguments: argparse.Namespace) -> int:
    _write_report(load(arguments), arguments.root, renew=True, out=arguments.out)
    return 0


def _write_report(plan: Plan, root: Path, *, renew: bool, out: Path | None = None) -> None:
    from rich.console import Console

    from reasoning_pipeline.report import results_table, write_csv, write_report

    path = out or root / plan.recipe.name / "report.html"
    if renew or not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        write_report(plan, path)
        write_csv(plan, path.with_suffix(".csv"))
    console = Console()
    console.print(results_table(plan))
    console.print(f"report: {path}", highlight=False, soft_wrap=True)
