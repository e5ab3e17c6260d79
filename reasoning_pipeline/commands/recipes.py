"""`recipes` and `init`: what ships, and a copy of it to change."""

from __future__ import annotations

import argparse
import shutil
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING

from reasoning_pipeline.beside import PIPELINE
from reasoning_pipeline.commands import COMMANDS

if TYPE_CHECKING:
    from reasoning_pipeline.recipe.model import Recipe

INDENT = "    "


def add(commands: argparse._SubParsersAction) -> None:
    text = COMMANDS["recipes"].text
    listing = commands.add_parser("recipes", help=text, description=text)
    listing.set_defaults(command=_recipes)

    text = COMMANDS["init"].text
    init = commands.add_parser("init", help=text, description=text)
    init.add_argument("name", help=f"as `{PIPELINE} recipes` lists it")
    init.add_argument("folder", nargs="?", type=Path, default=Path(), metavar="DIR", help="default: this folder")
    init.set_defaults(command=_init)


def _recipes(arguments: argparse.Namespace) -> int:
    from reasoning_pipeline.recipe.reading import load_recipe
    from reasoning_pipeline.recipe.shipped import recipe_names

    for name in recipe_names():
        recipe = load_recipe(name)
        print(name)
        if recipe.description:
            print(textwrap.indent(textwrap.fill(recipe.description, 76), INDENT))
        where = f"profile {' or '.join(recipe.sized_for) or 'cpu'}; {_needs(recipe)}"
        print(textwrap.indent(textwrap.fill(where, 76), INDENT))
    return 0


def _needs(recipe: Recipe) -> str:
    from reasoning_pipeline.models.outside import outside_folder
    from reasoning_pipeline.recipe.arms import worlds
    from reasoning_pipeline.recipe.model import STEP

    models = {
        reference
        for world in worlds(recipe, recipe.seed)
        for step in world.recipe.steps
        for _, reference, _ in world.recipe.references(step)
        if not reference.startswith(STEP) and outside_folder(reference, recipe.folder) is None
    }
    data = {str(config.id) for config in recipe.data.values() if config.source == "hub"}
    files = {config.path for config in recipe.data.values() if config.path}
    needed = [f"from the hub {', '.join(sorted(models | data))}"] if models | data else []
    needed += [f"the file {', '.join(sorted(files))}"] if files else []
    return f"needs {' and '.join(needed) or 'nothing else'}"


def _init(arguments: argparse.Namespace) -> int:
    from reasoning_pipeline.base.validation import suggestion
    from reasoning_pipeline.errors import RecipeError
    from reasoning_pipeline.recipe.shipped import RECIPES, files_of, recipe_names

    if arguments.name not in (known := recipe_names()):
        hint = suggestion(arguments.name, known)
        raise RecipeError(arguments.name, [f"no recipe of this name ships{hint} (`{PIPELINE} recipes` lists them)"])
    recipe = RECIPES / f"{arguments.name}.yaml"
    copies = {path: arguments.folder / path.relative_to(RECIPES.resolve()) for path in files_of(recipe)}
    if there := [str(copy) for copy in copies.values() if copy.exists()]:
        raise RecipeError(arguments.name, [f"{path}: is there already; give another folder" for path in there])
    for path, copy in copies.items():
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, copy)
        print(copy)
    own = copies[recipe.resolve()]
    print(f"\nnext:\n{INDENT}{PIPELINE} doctor {own}\n{INDENT}{PIPELINE} run {own}")
    return 0
