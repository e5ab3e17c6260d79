"""`gc`: what no step of some recipes needs, and removing it."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from rich.markup import escape
from rich.table import Table

from reasoning_pipeline.base.text import amount, console
from reasoning_pipeline.commands.artifacts import find_artifact
from reasoning_pipeline.commands.options import add_seeds_option, command, seeds_of, store_of

if TYPE_CHECKING:
    from reasoning_pipeline.registry.removal import Removable


def add(commands: argparse._SubParsersAction) -> None:
    parser = command(commands, "gc", _collect)
    parser.add_argument("recipes", nargs="+", type=Path, metavar="RECIPE", help="recipes whose results are kept")
    add_seeds_option(parser, "results under these seeds are kept (default: the recipe's)")
    parser.add_argument("--keep", metavar="ARTIFACT", action="append", default=[], help="keep this too (repeatable)")
    parser.add_argument("--dry-run", action="store_true", help="only list")
    parser.add_argument("--yes", action="store_true", help="remove without asking")


def _collect(arguments: argparse.Namespace) -> int:
    from reasoning_pipeline.errors import RegistryError
    from reasoning_pipeline.plan.planner import make_plan
    from reasoning_pipeline.recipe.reading import load_recipe
    from reasoning_pipeline.registry.removal import at_work, remove, unneeded
    from reasoning_pipeline.registry.store import Registry

    registry = Registry(store_of(arguments))
    kept = [find_artifact(registry, name).name for name in arguments.keep]
    for path in arguments.recipes:
        recipe = load_recipe(path, ())
        seeds = dict.fromkeys((recipe.seed, *seeds_of(arguments, recipe, declared=True)))
        plan = make_plan(recipe, arguments.root, tuple(seeds), store=registry.root)
        kept += [step.output for step in plan.steps]
        kept += [entry.artifact for step in plan.steps for entry in step.inputs if entry.artifact]
    items = unneeded(registry, kept)
    _print_removable(items)
    if arguments.dry_run or not items:
        return 0
    if busy := list(at_work(registry)):
        raise RegistryError(
            "not removed: a run is at work here\n  " + "\n  ".join(busy), remedy="wait for it; --dry-run always works"
        )
    if not arguments.yes and not _agreed():
        return 1
    remove(registry, items)
    print(f"removed; their records stay in {registry.folder.name}/removed")
    return 0


def _agreed() -> bool:
    from reasoning_pipeline.errors import RegistryError

    if not sys.stdin.isatty():
        raise RegistryError("not removed: nobody there to be asked", remedy="add --yes")
    return input("remove these? [y/N] ").strip().lower() in ("y", "yes")


def _print_removable(items: list[Removable]) -> None:
    """What would go, with sizes, and the sum."""
    table = Table(box=None, pad_edge=False)
    for heading in ("folder", "bytes", "made by"):
        table.add_column(
            heading, overflow="fold", no_wrap=heading == "folder", justify="right" if heading == "bytes" else "left"
        )
    for item in items:
        place = f"{item.folder.parent.name}/{item.folder.name}"
        table.add_row(*map(escape, (place, amount(item.bytes, "B"), item.why)))
    out = console()
    if items:
        out.print(table)
    total = amount(sum(item.bytes for item in items), "B")
    out.print(f"{len(items)} removable, {total}" if items else "nothing is removable", soft_wrap=True)
