"""`report`: the page and the tables of what is complete."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from reasoning_pipeline.base.text import console
from reasoning_pipeline.commands.options import add_arm_options, load, recipe_command

if TYPE_CHECKING:
    from reasoning_pipeline.plan.graph import Plan


def add(commands: argparse._SubParsersAction) -> None:
    parser = recipe_command(commands, "report", _report)
    add_arm_options(parser, without="every arm, under the recipe's `seeds`")
    parser.add_argument("--out", type=Path, help="HTML file (default: ROOT/RECIPE/report.html)")


def _report(arguments: argparse.Namespace) -> int:
    write_report(load(arguments, declared_seeds=True), arguments.root, renew=True, out=arguments.out)
    return 0


def write_report(plan: Plan, root: Path, *, renew: bool, out: Path | None = None) -> None:
    """Write what there is to show, and end on the terminal with its table; `renew` where a step ran."""
    from reasoning_pipeline import report

    path = out or root / plan.recipe.name / "report.html"
    if renew or report.has_arms(plan) or not path.is_file():  # the page there may be about other arms
        path.parent.mkdir(parents=True, exist_ok=True)
        report.write_report(plan, path)
        report.write_csv(plan, path.with_suffix(".csv"))
        if report.has_arms(plan):
            report.write_arms_csv(plan, path.with_name(f"{path.stem}_arms.csv"))
            report.write_part_tables(plan, path)
    screen = console()
    screen.print(report.arms_table(plan) if report.has_arms(plan) else report.results_table(plan))
    screen.print(f"report: {path}", highlight=False, soft_wrap=True)
