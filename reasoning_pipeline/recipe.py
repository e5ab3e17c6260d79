"""YAML -> validated recipe. Everything wrong is gathered and reported once, with place and suggestion.

A recipe says what the experiment is: data and pools, the prompt, the steps, the evaluations. Where it runs is a
hardware profile (hardware.py). No torch here.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from reasoning_pipeline.data.arithmetic import MOST_PROBLEMS, SPLITS
from reasoning_pipeline.data.prompts import PromptConfig
from reasoning_pipeline.errors import RecipeError
from reasoning_pipeline.stage import Input, Prompts, Spends, StageConfig, fields_marked, stage_kinds, stage_module
from reasoning_pipeline.validation import readable_validation, suggestion
from reasoning_pipeline.yaml_files import apply_override, read_with_parents

STEP = "step:"
"""Prefix of a reference to another step's output."""

SUITES_FOLDER = Path(__file__).resolve().parent.parent / "evals" / "suites"
"""Only its file names are looked at: `evals` imports this package, never the reverse."""

RESERVED_NAMES = ("registry", "work")
"""Folders of a root that are not a recipe's."""


class DataConfig(BaseModel):
    """One set of problems and the pools it is divided into."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    source: Literal["arithmetic", "jsonl", "hub"]
    path: str | None = None
    """`jsonl`: the file; relative paths start at the recipe's folder."""
    id: str | None = None
    """`hub`: data set id."""
    revision: str | None = None
    split: str = "train"
    """`hub`: split. `arithmetic`: pool, validation, test or hard."""
    subset: str | None = None
    count: int | None = Field(None, ge=1)
    """`arithmetic`: how many problems. Elsewhere: keep only this many (by stable hash)."""
    unusable_answers: Literal["refuse", "set_aside"] = "refuse"
    """What to do with a row whose answer is empty: an error that names it, or leave it out and count it."""
    benchmark_overlap: Literal["ngram", "exact", "keep"] = "ngram"
    """Problems that also stand in a benchmark file of `evaluate.data` are left out and counted: by thirteen words in a
    row or the whole text (`ngram`), by the whole text alone (`exact`), or not at all (`keep`)."""
    columns: dict[Literal["id", "question", "answer"], str] = {}
    """Names of the columns where they differ from id, question (or problem), answer."""
    pools: dict[str, Fraction] = {}
    """Pool name -> share of the problems ("3/4"); pools of one data set never overlap. Divided as labels.py says."""

    @field_validator("pools", mode="before")
    @classmethod
    def _fractions(cls, value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        shares = {}
        for name, share in value.items():
            try:
                shares[name] = Fraction(str(share))
            except (ValueError, ZeroDivisionError):
                raise ValueError(f"the share of {name!r} must be a number or a fraction such as 3/4") from None
        return shares

    @model_validator(mode="after")
    def _complete(self) -> DataConfig:
        needed = {"arithmetic": "count", "jsonl": "path", "hub": "id"}[self.source]
        if getattr(self, needed) is None:
            raise ValueError(f"source {self.source!r} needs `{needed}`")
        if self.source == "arithmetic":
            if self.split not in ("train", *SPLITS):
                raise ValueError(f"no split is called {self.split!r}{suggestion(self.split, SPLITS)}")
            if (self.count or 0) > MOST_PROBLEMS:
                raise ValueError(f"the arithmetic world has at most {MOST_PROBLEMS:,} problems (got {self.count:,})")
        if sum(self.pools.values()) > 1:
            raise ValueError(f"the pools' shares add up to {sum(self.pools.values())}, more than the whole")
        if any(share <= 0 for share in self.pools.values()):
            raise ValueError("a pool's share must be above 0")
        return self


class EvaluationConfig(BaseModel):
    """Which checkpoints are scored, on what, and how."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    suites: tuple[str, ...] = ()
    data: dict[str, str] = {}
    """Suite -> local JSONL, where it should not come from the hub."""
    samples: int = Field(16, ge=1)
    """Per problem: avg@k."""
    temperature: float = Field(1.0, ge=0)
    top_p: float = Field(1.0, gt=0, le=1)
    top_k: int = Field(0, ge=0)
    max_tokens: int = Field(16384, ge=1)
    limit: int | None = Field(None, ge=1)
    """Only this many problems of each suite (smoke runs)."""
    seed: int = 0
    of: tuple[str, ...] | None = None
    """Steps whose checkpoints are scored; all of them where it is not given."""

    _one_or_many = field_validator("suites", mode="before")(lambda v: (v,) if isinstance(v, str) else v)


class Recipe(BaseModel):
    """A validated recipe. `steps` keeps the order of the file; references decide what waits for what."""

    model_config = ConfigDict(extra="forbid", frozen=True, arbitrary_types_allowed=True)

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9._-]*$")
    description: str = ""
    seed: int = 0
    prompt: PromptConfig = PromptConfig()
    data: dict[str, DataConfig] = {}
    steps: dict[str, StageConfig] = {}
    evaluate: EvaluationConfig | None = None
    expectation: str = ""
    """What a reader should expect of the numbers, shown at the top of the report."""

    path: Path
    """Where it was read from; not part of any fingerprint."""

    @field_validator("name")
    @classmethod
    def _not_reserved(cls, name: str) -> str:
        if name in RESERVED_NAMES:
            raise ValueError("the root keeps a folder of this name for itself")
        return name

    def references(self, step: str) -> Iterator[tuple[str, str, str]]:
        """(field, reference, kind) of every input of a step."""
        config = self.steps[step]
        for field, mark in fields_marked(type(config), Input).items():
            assert isinstance(mark, Input)
            yield field, getattr(config, field), mark.kind

    def parents(self, step: str) -> list[str]:
        """Names of the steps whose output this step reads."""
        return [ref.removeprefix(STEP) for _, ref, _ in self.references(step) if ref.startswith(STEP)]

    def pools(self) -> dict[str, str]:
        """Pool -> data set it belongs to."""
        return {pool: name for name, data in self.data.items() for pool in data.pools}

    def pools_of(self, step: str, mark: type) -> tuple[str, ...]:
        """Pools a step spends (`Spends`) or only reads the questions of (`Prompts`)."""
        config = self.steps[step]
        return tuple(pool for field in fields_marked(type(config), mark) for pool in getattr(config, field))


def load_recipe(path: str | Path, overrides: Iterable[str] = ()) -> Recipe:
    """Read, override and validate a recipe.

    Args:
        path: The YAML file. A recipe may name another in `extends:`; it then holds only the differences.
        overrides: `steps.distill.learning_rate=2e-6` and the like; the value is read as YAML.

    Raises:
        RecipeError: Lists every problem found (exit status 2).
    """
    path = Path(path)
    if not path.is_file():
        raise RecipeError(str(path), ["no such recipe"])
    values = read_with_parents(path)
    problems: list[str] = []
    for override in overrides:
        apply_override(values, override, problems)
    return _validate(values, path, problems)


def _validate(values: dict[str, Any], path: Path, problems: list[str]) -> Recipe:
    raw_steps = values.get("steps") or {}
    if not isinstance(raw_steps, dict):
        problems.append("steps: expected a mapping of step names")
        raw_steps = {}
    steps: dict[str, StageConfig] = {}
    for name, raw in raw_steps.items():
        config = _validate_step(str(name), raw, problems)
        if config is not None:
            steps[str(name)] = config
    if not raw_steps and not problems:
        problems.append("steps: a recipe needs at least one step")
    if "path" in values:
        problems.append("path: unknown key")
    recipe = readable_validation(
        Recipe, {**values, "steps": {}, "path": path}, place="", problems=problems, hidden=("path",)
    )
    recipe = (recipe or _recipe_sketch(values)).model_copy(update={"steps": steps})
    problems.extend(_cross_problems(recipe, all_names=[str(name) for name in raw_steps]))
    if problems:
        raise RecipeError(str(path), problems)
    return recipe


def _validate_step(name: str, raw: Any, problems: list[str]) -> StageConfig | None:
    place = f"steps.{name}"
    if not isinstance(raw, dict):
        problems.append(f"{place}: expected fields, found {type(raw).__name__}")
        return None
    if not re.fullmatch(r"[A-Za-z0-9_-]+", name):
        problems.append(f"{place}: a step's name is made of letters, digits, '_' and '-'")
    kind = raw.get("stage")
    if kind not in stage_kinds():
        found = f"no stage is called {kind!r}{suggestion(str(kind), stage_kinds())}" if kind else "which stage?"
        problems.append(f"{place}.stage: {found} (stages: {', '.join(stage_kinds())})")
        return None
    model = stage_module(str(kind)).Config
    return readable_validation(model, raw, place=place, problems=problems) or _step_sketch(model, raw)


def _step_sketch(model: type[StageConfig], raw: dict[str, Any]) -> StageConfig:
    """The references and pools of a step with other problems, so that these are checked in the same go."""
    links: dict[str, Any] = {"stage": raw["stage"], "replay": raw.get("replay")}
    for field in fields_marked(model, Input):
        links[field] = raw[field] if isinstance(raw.get(field), str) else ""
    for mark in (Spends, Prompts):
        for field in fields_marked(model, mark):
            links[field] = tuple(_texts(raw.get(field)))
    if isinstance(raw.get("data"), str):
        links["data"] = raw["data"]
    return model.model_construct(**links)


def _recipe_sketch(values: dict[str, Any]) -> Recipe:
    """The pools and evaluated steps of a recipe with other problems, for the same purpose."""
    data = {}
    for name, raw in _mapping_or_empty(values.get("data")).items():
        shares: dict[str, Any] = {"pools": dict.fromkeys(_texts(_mapping_or_empty(raw).get("pools")), Fraction(0))}
        data[str(name)] = DataConfig.model_construct(**shares)
    raw = _mapping_or_empty(values.get("evaluate"))
    of = tuple(_texts(raw["of"])) if raw.get("of") is not None else None
    evaluate = EvaluationConfig.model_construct(suites=tuple(_texts(raw.get("suites"))), of=of)
    links: dict[str, Any] = {"data": data, "evaluate": evaluate}
    return Recipe.model_construct(**links)


def _texts(value: Any) -> list[str]:
    several = [value] if isinstance(value, str) else value if isinstance(value, list | dict) else []
    return [item for item in several if isinstance(item, str)]


def _mapping_or_empty(value: Any) -> dict[Any, Any]:
    return value if isinstance(value, dict) else {}


def _cross_problems(recipe: Recipe, all_names: list[str]) -> Iterator[str]:
    """Problems between fields: references, pools, spending."""
    pools = recipe.pools()
    repeated = [p for d in recipe.data.values() for p in d.pools]
    for pool in sorted({p for p in repeated if repeated.count(p) > 1}):
        yield f"data: the pool {pool!r} is declared twice"
    for name, config in recipe.steps.items():
        above = all_names[: all_names.index(name)]
        for field, reference, kind in recipe.references(name):
            yield from _reference_problems(recipe, name, field, reference, kind, above, all_names)
        for mark in (Spends, Prompts):
            for field in fields_marked(type(config), mark):
                named = getattr(config, field)
                for pool in dict.fromkeys(named):
                    if pool not in pools:
                        yield f"steps.{name}.{field}: no pool is called {pool!r}{suggestion(pool, pools)}"
                    if named.count(pool) > 1:
                        yield f"steps.{name}.{field}: names the pool {pool!r} {named.count(pool)} times"
    yield from _spending_problems(recipe)
    yield from _data_field_problems(recipe)
    known = sorted(path.stem for path in SUITES_FOLDER.glob("*.yaml"))
    for suite in recipe.evaluate.suites if recipe.evaluate is not None else ():
        if suite not in known and not suite.endswith(".jsonl"):
            hint = suggestion(suite, known)
            yield f"evaluate.suites: no suite is called {suite!r}{hint} (suites: {', '.join(known)}, or a .jsonl file)"
    if recipe.evaluate is not None and recipe.evaluate.of is not None:
        for name in recipe.evaluate.of:
            if name not in all_names:
                yield f"evaluate.of: no step is called {name!r}{suggestion(name, all_names)}"
            elif name in recipe.steps and (publishes := type(recipe.steps[name]).publishes) != "checkpoint":
                yield f"evaluate.of: {name!r} publishes {publishes}, and only checkpoints are scored"


def _reference_problems(
    recipe: Recipe, name: str, field: str, reference: str, kind: str, above: list[str], all_names: list[str]
) -> Iterator[str]:
    place = f"steps.{name}.{field}"
    if not reference.startswith(STEP):
        if reference in all_names:
            yield f'{place}: {reference!r} names a step; write "{STEP}{reference}"'
        return
    target = reference.removeprefix(STEP)
    if target in above:
        publishes = type(recipe.steps[target]).publishes if target in recipe.steps else kind
        if publishes != kind:
            yield f"{place}: {reference!r} publishes {publishes}, but {kind} is needed here"
    elif target == name:
        yield f"{place}: {reference!r} is this step itself"
    elif target in all_names:
        yield f"{place}: {reference!r} is not above this step; move it up"
    else:
        hint = suggestion(target, above, prefix=STEP)
        yield f"{place}: {reference!r} is not a step above it{hint}"


def lineage(recipe: Recipe, step: str) -> list[str]:
    """The step's ancestors, oldest first, without itself."""
    seen, ordered = {step}, []

    def visit(name: str) -> None:
        for parent in recipe.parents(name):
            if parent in recipe.steps and parent not in seen:
                seen.add(parent)
                visit(parent)
                ordered.append(parent)

    visit(step)
    return ordered


def _spending_problems(recipe: Recipe) -> Iterator[str]:
    for name in recipe.steps:
        for pool in recipe.pools_of(name, Spends):
            spender = next((a for a in lineage(recipe, name) if pool in recipe.pools_of(a, Spends)), None)
            if spender is not None and not getattr(recipe.steps[name], "replay", False):
                yield (
                    f"steps.{name}.spends: the pool {pool!r} was already spent by {spender!r}, from which this step "
                    "comes; choose a pool not spent yet, or say `replay: true`"
                )


def _data_field_problems(recipe: Recipe) -> Iterator[str]:
    for name, config in recipe.steps.items():
        data = getattr(config, "data", None)
        if data is not None and data not in recipe.data:
            yield f"steps.{name}.data: no data set is called {data!r}{suggestion(data, recipe.data)}"
