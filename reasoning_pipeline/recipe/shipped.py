"""The recipes that ship: found by name from everywhere, listed, and copied to be changed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from reasoning_pipeline.base.validation import suggestion
from reasoning_pipeline.base.yaml_files import read_yaml
from reasoning_pipeline.beside import FOLDER
from reasoning_pipeline.errors import RecipeError

RECIPES = FOLDER / "recipes"

ENDINGS = (".yaml", ".yml")


def recipe_names() -> list[str]:
    """As they are given on a command line: `arithmetic`, `smoke/pretrain`. What begins with `_` is only extended."""
    found = (path for path in RECIPES.rglob("*.yaml") if not path.name.startswith("_") and _has_steps(path))
    names = (str(path.relative_to(RECIPES).with_suffix("")) for path in found)
    return sorted(names, key=lambda name: ("/" in name, name))


def _has_steps(path: Path) -> bool:
    """Steps of its own or another recipe's; suites lie beside the recipes that name them."""
    return any(line.startswith(("steps:", "extends:")) for line in path.read_text(encoding="utf-8").splitlines())


def recipe_file(named: str | Path) -> Path:
    """A file of one's own, else the recipe that ships under this name. Raises RecipeError where there is neither."""
    path = Path(named).expanduser()
    if path.is_file():
        return path
    ships = RECIPES / f"{named}.yaml"
    if not str(named).endswith(ENDINGS) and ships.is_file() and ships.resolve().is_relative_to(RECIPES.resolve()):
        return ships
    beside = {str(path.with_name(other.name)) for end in ENDINGS for other in path.parent.glob(f"*{end}")}
    raise RecipeError(str(named), [f"no such recipe{suggestion(str(named), [*beside, *recipe_names()])}"])


def files_of(recipe: Path) -> list[Path]:
    """The recipe's file and every file that it names beside it, what it extends included."""
    found: list[Path] = []

    def visit(path: Path) -> None:
        if path in found:
            return
        found.append(path)
        if path.suffix in ENDINGS:
            for word in _words(read_yaml(path)):
                named = path.parent / word.partition(":")[0]
                if word and "\n" not in word and len(word) < 256 and named.is_file():
                    visit(named.resolve())

    visit(recipe.resolve())
    return found


def _words(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        value = [*value.values()]
    if isinstance(value, list):
        for item in value:
            yield from _words(item)
    elif isinstance(value, str):
        yield value
