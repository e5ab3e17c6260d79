"""What a workflow adds to recipes and plans: a class for each key that a recipe may then have."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import BaseModel

from reasoning_pipeline.base.validation import no_file, readable_validation
from reasoning_pipeline.data.pools import DataSource
from reasoning_pipeline.errors import RecipeError
from reasoning_pipeline.recipe.workflows import contributed

if TYPE_CHECKING:
    from reasoning_pipeline.recipe.model import Recipe, World
    from reasoning_pipeline.recipe.stage import StageConfig


class Section:
    """One key of a recipe and what it means for the plan. Everything but `key` and `model` may stay as it is here."""

    key: ClassVar[str]
    model: ClassVar[type[BaseModel]]
    """What is written under the key."""
    in_arms: ClassVar[bool] = False
    """Whether an arm may have the key too."""

    def claims(self, raw: Any) -> bool:
        """Whether what stands under the key is this section's; else it stays where it was, a key of the core's or of
        another workflow."""
        return True

    def sketch(self, raw: Any) -> Any:
        """The references in a section with mistakes, so that these are checked in the same go; None for none."""
        return None

    def problems(self, recipe: Recipe, all_names: list[str]) -> Iterator[str]:
        """What is wrong between this section and the rest of the recipe. `all_names` has unreadable steps too."""
        return iter(())

    def arm_problems(self, recipe: Recipe) -> Iterator[str]:
        """The same asked of every arm, whose steps the recipe then has: each is a world of its own."""
        return iter(())

    def mark_problems(self, value: Any, place: str) -> Iterator[str]:
        """What is wrong with the key's value in an arm or in the recipe itself."""
        return iter(())

    def before(self, recipe: Recipe, step: str) -> Iterator[tuple[str, StageConfig]]:
        """(name, config) of steps placed just before this one."""
        return iter(())

    def changed(self, recipe: Recipe, step: str, config: StageConfig) -> StageConfig:
        """The step's config as this section wants it."""
        return config

    def after(self, recipe: Recipe, step: str) -> Iterator[tuple[str, StageConfig]]:
        """(name, config) of steps placed just behind this one."""
        return iter(())

    def companions(self, world: World) -> Iterator[tuple[str, str, StageConfig]]:
        """(step, suffix, config) of what is made of a step's output wherever it stands: once for all arms that share
        the step, directly behind it, called STEP.SUFFIX, and no part of an arm itself."""
        return iter(())

    def benchmarks(self, recipe: Recipe) -> dict[str, str | None]:
        """Suite -> its local file, relative to the recipe: problems that must not be trained on."""
        return {}


def sections() -> tuple[Section, ...]:
    return contributed("in_recipe")


def read_sections(raw: dict[str, Any], problems: list[str], place: str = "", *, arm: bool = False) -> dict[str, Any]:
    """Takes the keys of the workflows out of what was read; what is wrong with them is appended to `problems`."""
    found: dict[str, Any] = {}
    for section in sections():
        if section.key not in raw or (arm and not section.in_arms) or not section.claims(raw[section.key]):
            continue
        value, where = raw.pop(section.key), f"{place}.{section.key}" if place else section.key
        if value is None:
            continue
        read: Any = readable_validation(section.model, value, place=where, problems=problems)
        if read is None:
            read = section.sketch(value)
        else:
            problems.extend(section.mark_problems(read, where))
        if read is not None:
            found[section.key] = read
    return found


def data_source(recipe: Recipe) -> DataSource:
    """What the recipe's pools follow from. Raises RecipeError where a benchmark's local file is missing."""
    benchmarks: dict[str, str | None] = {}
    missing = []
    for section in sections():
        found = section.benchmarks(recipe)
        for suite, file in found.items():
            if file is not None and not (recipe.folder / file).is_file():
                missing.append(f"{section.key}.data.{suite}: {no_file(file, recipe.folder / file)}")
        benchmarks |= found
    if missing:
        raise RecipeError(str(recipe.path), missing)
    return DataSource(data=recipe.data, folder=recipe.folder, benchmarks=benchmarks)
