"""Which checkpoints are scored, on what, and how: `evaluate:` in a recipe, and its steps.

Evaluations stand right behind the checkpoint they score: the server holds its weights already. Every arm's outcome is
scored, and of the main arm what the recipe asks for.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from reasoning_pipeline.base.validation import suggested_file, suggestion, texts
from reasoning_pipeline.data.suites.spec import files_of, is_own_file, is_yaml, located, own_name, suite_names
from reasoning_pipeline.errors import DataError
from reasoning_pipeline.recipe.checks import checkpoint_problems
from reasoning_pipeline.recipe.model import MAIN, STEP, Recipe, World
from reasoning_pipeline.recipe.sections import Section
from reasoning_pipeline.recipe.stage import Evaluation, File, StageConfig
from reasoning_pipeline.recipe.work import Known, Work
from reasoning_pipeline.rewards.config import reward_problems

PROMPT_LIMIT = 2048
"""Tokens of a benchmark's prompt that a server is prepared for."""


class EvaluationConfig(BaseModel):
    """Which checkpoints are scored, on what, and how."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    suites: tuple[str, ...] = ()
    """Benchmarks by name, or suite files of one's own; the first is what arms are compared by."""
    data: dict[str, str] = {}
    """Suite -> local JSONL, where it should not come from the hub."""
    samples: int = Field(16, ge=1)
    """Per problem: avg@k."""
    temperature: float = Field(1.0, ge=0)
    """0 decodes greedily."""
    top_p: float = Field(1.0, gt=0, le=1)
    """Least probability mass that tokens are drawn from."""
    top_k: int = Field(0, ge=0)
    """Likeliest tokens that are drawn from; 0 takes all."""
    max_tokens: int = Field(16384, ge=1)
    """Longest answer in tokens; a longer one is cut."""
    limit: int | None = Field(None, ge=1)
    """Only this many problems of each suite (smoke runs)."""
    seed: int = 0
    """Of sampling."""
    of: tuple[str, ...] | None = None
    """Steps of the main arm whose checkpoints are scored; all of them where it is not given. Every arm's outcome is
    scored besides, so `[]` means: outcomes only."""

    @model_validator(mode="before")
    @classmethod
    def _own_files(cls, values: Any) -> Any:
        """A suite that is a file goes by its name and has the file in `data`, as a suite that ships with a local copy:
        so it is found, digested and named in one way everywhere."""
        if not isinstance(values, dict):
            return values
        named, data = values.get("suites"), values.get("data")
        suites = [named] if isinstance(named, str) else named
        if not isinstance(suites, list | tuple) or not isinstance(data, dict | None):
            return values
        try:
            files = {own_name(suite): suite for suite in texts(list(suites)) if is_own_file(suite)}
        except DataError as error:
            raise ValueError(str(error)) from None
        called = [own_name(suite) if isinstance(suite, str) and is_own_file(suite) else suite for suite in suites]
        return {**values, "suites": called, **({"data": {**(data or {}), **files}} if files or data else {})}


class EvaluateStep(Evaluation):
    """An evaluation as a step of the plan; its program is `python -m evals step`."""

    generates_with: ClassVar[str | None] = "checkpoint"

    stage: Literal["evaluate"] = "evaluate"
    data: Annotated[dict[str, str], File("suite_files")]
    needs: Annotated[dict[str, str], File()] = Field({}, exclude_if=lambda files: not files)
    """What the YAML files of own suites name: `SUITE.WHAT` -> file."""
    temperature: float
    top_p: float
    top_k: int
    max_tokens: int
    limit: int | None = None

    def lengths(self) -> tuple[int, int]:
        return PROMPT_LIMIT, self.max_tokens

    def work(self, known: Known) -> Work:
        problems = sum(min(known.suite_rows(name), self.limit or 10**9) for name in self.suites)
        return Work(
            rows=problems * self.samples,
            prompt_limit=PROMPT_LIMIT,
            completion_limit=self.max_tokens,
            policy="checkpoint",
            generates=True,
        )

    def decoding(self) -> str:
        limit = f", the first {self.limit} problems of each suite" if self.limit else ""
        return (
            f"{super().decoding()}, temperature {self.temperature:g}, top-p {self.top_p:g}, "
            f"top-k {self.top_k or 'off'}, at most {self.max_tokens:,} tokens{limit}"
        )


def evaluation_of(recipe: Recipe) -> EvaluationConfig | None:
    """What the recipe says under `evaluate`."""
    found: EvaluationConfig | None = recipe.sections.get(Evaluate.key)
    return found


class Evaluate(Section):
    """`evaluate:` in a recipe."""

    key = "evaluate"
    model = EvaluationConfig

    def sketch(self, raw: Any) -> EvaluationConfig | None:
        if not isinstance(raw, dict):
            return None
        of = tuple(texts(raw["of"])) if raw.get("of") is not None else None
        suites = tuple(suite for suite in texts(raw.get("suites")) if not is_own_file(suite))
        return EvaluationConfig.model_construct(suites=suites, of=of)

    def problems(self, recipe: Recipe, all_names: list[str]) -> Iterator[str]:
        config, known = evaluation_of(recipe), suite_names()
        if config is None:
            return
        for suite in config.suites:
            if suite not in known and suite not in config.data:
                hint = suggestion(suite, known) or suggested_file(recipe.folder / suite)
                said = f"(suites: {', '.join(known)}, or a file)"
                yield f"evaluate.suites: no suite is called {suite!r}{hint} {said}"
        for suite, file in config.data.items():
            yield from _own_problems(suite, recipe.folder / Path(file).expanduser())
        for name in config.of or ():
            yield from checkpoint_problems(recipe, name, "evaluate.of", "only checkpoints are scored", all_names)

    def companions(self, world: World) -> Iterator[tuple[str, str, StageConfig]]:
        config = evaluation_of(world.recipe)
        if config is None or not config.suites:
            return
        folder = world.recipe.folder
        needs = {
            f"{suite}.{what}": file
            for suite in config.suites
            for what, file in files_of(config.data.get(suite, ""), folder).items()
        }
        step = EvaluateStep(checkpoint=STEP, needs=needs, **config.model_dump(exclude={"of"}))
        for name in _scored(world, config):
            yield name, "evaluate", step

    def benchmarks(self, recipe: Recipe) -> dict[str, str | None]:
        config = evaluation_of(recipe)
        return {} if config is None else {suite: config.data.get(suite) for suite in (*config.suites, *config.data)}


def _own_problems(suite: str, path: Path) -> Iterator[str]:
    """What is wrong with a suite's own YAML file; a missing one is told with the other files."""
    if not is_yaml(path) or not path.is_file():
        return
    try:
        spec, _ = located(suite, path)
    except DataError as error:
        yield f"evaluate.suites: {error.message}"
        return
    found = reward_problems(spec.reward, spec.reward_files, path.parent)
    yield from (f"evaluate.suites: {path.name}: reward: {problem}" for problem in found)


def _scored(world: World, config: EvaluationConfig) -> list[str]:
    """Steps whose checkpoints are scored: every arm's outcome, and of the main arm those that the recipe asks for."""
    made = [name for name, step in world.recipe.steps.items() if type(step).publishes == "checkpoint"]
    outcomes = {world.outcome} if world.recipe.arms else set()
    if world.arm != MAIN:
        return [name for name in made if name in outcomes]
    return [name for name in made if config.of is None or name in config.of or name in outcomes]
