"""`compare-paper`: our arms beside the published table."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from reasoning_pipeline.base.text import console
from reasoning_pipeline.commands.options import add_seeds_option, command, seeds_of, store_of

if TYPE_CHECKING:
    from reasoning_pipeline.plan.graph import Plan


def add(commands: argparse._SubParsersAction) -> None:
    parser = command(commands, "compare-paper", _compare)
    parser.add_argument(
        "run", type=Path, metavar="RUN", help="a recipe, or the folder of its runs, e.g. runs/miniature"
    )
    add_seeds_option(parser, "default: the recipe's `seeds`")
    parser.add_argument("--out", type=Path, help="CSV file (default: compare_paper.csv in the folder of the runs)")


def _compare(arguments: argparse.Namespace) -> int:
    from reasoning_pipeline.workflows.reasoning.compare_paper import paper_lines, paper_tables, write_paper_csv

    plan = _plan(arguments)
    lines = paper_lines(plan)
    out = console()
    out.print(paper_tables(lines, len(plan.seeds)))
    path = arguments.out or plan.root / plan.recipe.name / "compare_paper.csv"
    out.print(f"csv: {write_paper_csv(lines, path)}", soft_wrap=True)
    return 0


def _plan(arguments: argparse.Namespace) -> Plan:
    from reasoning_pipeline.errors import RecipeError
    from reasoning_pipeline.plan.planner import make_plan
    from reasoning_pipeline.recipe.reading import load_recipe
    from reasoning_pipeline.workflows.reasoning.published import row_of

    if arguments.run.is_dir():
        path, root = _recipe_of(arguments.run), arguments.run.parent
    else:
        path, root = arguments.run, arguments.root
    recipe = load_recipe(path)
    if not any(map(row_of, (recipe.sections, *(arm.sections for arm in recipe.arms.values())))):
        problem = "no arm says which row of the published table it is the counterpart of; write `published: ROW`"
        raise RecipeError(str(path), [f"{problem} (docs/report.md)"])
    store = store_of(arguments) if arguments.registry else root
    return make_plan(recipe, root, seeds_of(arguments, recipe, declared=True), store=store)


def _recipe_of(folder: Path) -> Path:
    """The recipe that a folder of runs was made from, as its plan.json says."""
    import json

    from reasoning_pipeline.errors import PipelineError

    remedy = "give the recipe's file instead, and --root"
    try:
        values = json.loads((folder / "plan.json").read_text(encoding="utf-8"))
        path = folder.parent / values["path"]
    except FileNotFoundError:
        raise PipelineError(f"{folder}: no plan.json here, so no run of a recipe", remedy=remedy) from None
    except (ValueError, KeyError, TypeError) as error:
        raise PipelineError(f"{folder / 'plan.json'}: does not say which recipe it is of", remedy=remedy) from error
    if not path.is_file():
        raise PipelineError(f"{folder / 'plan.json'}: its recipe {path} is not there any more", remedy=remedy)
    return path
