"""Recipe -> plan: the steps in order, each with its identity, its inputs, what it spends, and whether it is done.

A step's fingerprint is the hash of its validated config, its inputs' fingerprints, the problems it reads, the prompt
and the stage's version: not the hardware, not paths. Equal fingerprints are the same work, and done only once.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from reasoning_pipeline.errors import RecipeError
from reasoning_pipeline.labels import Ledger, Spend
from reasoning_pipeline.recipe import STEP, Recipe
from reasoning_pipeline.registry.fingerprint import digest, file_digest
from reasoning_pipeline.registry.resolve import folder_fingerprint, require_weights, resolve_model
from reasoning_pipeline.registry.store import Artifact, Registry
from reasoning_pipeline.stage import Input, OutputKind, Prompts, Spends, StageConfig, fields_marked

EVALUATE = "evaluate"


class EvaluateStep(StageConfig):
    """An evaluation as a step of the plan; its program is `python -m evals step`."""

    publishes: ClassVar[OutputKind] = "evaluation"
    generates_with: ClassVar[str | None] = "checkpoint"
    heavy: ClassVar[bool] = False

    stage: Literal["evaluate"] = "evaluate"
    checkpoint: Annotated[str, Input("checkpoint")]
    suites: tuple[str, ...]
    data: dict[str, str]
    samples: int
    temperature: float
    top_p: float
    top_k: int
    max_tokens: int
    limit: int | None = None


@dataclass(frozen=True)
class PlannedInput:
    """What a field of a step's config refers to."""

    field: str
    reference: str
    fingerprint: str
    step: str | None
    """The step that makes it; None where no step of this recipe does."""
    artifact: str | None
    """Its folder name in the registry, published or not; None for a model from outside."""


@dataclass(frozen=True)
class PlannedStep:
    """One node of the graph."""

    name: str
    config: StageConfig
    inputs: tuple[PlannedInput, ...]
    identity: dict[str, Any]
    fingerprint: str
    spends: tuple[Spend, ...]
    prompts: int
    """Problems read without their answers."""
    artifact: Artifact | None
    """Present when the step is complete."""

    @property
    def complete(self) -> bool:
        return self.artifact is not None

    @property
    def output(self) -> str:
        """Name of the step's folder in the registry and in the work area."""
        return Registry.artifact_name(self.config.stage, self.fingerprint)

    def input(self, field: str) -> PlannedInput:
        return next(entry for entry in self.inputs if entry.field == field)


@dataclass(frozen=True)
class Plan:
    """All steps of a recipe, in an order in which they can run."""

    recipe: Recipe
    registry: Registry
    steps: tuple[PlannedStep, ...]
    ledger: Ledger

    def step(self, name: str) -> PlannedStep:
        return next(step for step in self.steps if step.name == name)

    def names(self) -> list[str]:
        return [step.name for step in self.steps]

    def as_json(self) -> dict[str, Any]:
        """What is written to plan.json: enough for a launcher that has not read the recipe."""
        return {
            "recipe": self.recipe.name,
            "steps": [
                {
                    "name": step.name,
                    "stage": step.config.stage,
                    "fingerprint": step.fingerprint,
                    "output": step.output,
                    "complete": step.complete,
                    "config": step.config.model_dump(mode="json"),
                    "inputs": [vars(entry) for entry in step.inputs],
                    "spends": [vars(spend) for spend in step.spends],
                }
                for step in self.steps
            ],
        }


def make_plan(recipe: Recipe, root: Path) -> Plan:
    """Fingerprint every step and look up which are complete. Reads records and data, never weights."""
    registry, ledger = Registry(root), Ledger(recipe)
    steps: dict[str, PlannedStep] = {}
    for name, config in _steps_with_evaluations(recipe):
        steps[name] = _planned(recipe, registry, ledger, name, config, steps)
    return Plan(recipe=recipe, registry=registry, steps=tuple(steps.values()), ledger=ledger)


def _steps_with_evaluations(recipe: Recipe) -> Iterator[tuple[str, StageConfig]]:
    """The recipe's steps, each checkpoint followed by its evaluation: the server then holds its weights already."""
    evaluate = recipe.evaluate
    for name, config in recipe.steps.items():
        seeded = config if config.seed is not None else config.model_copy(update={"seed": recipe.seed})
        yield name, seeded
        wanted = evaluate is not None and evaluate.suites and type(config).publishes == "checkpoint"
        if evaluate is None or not wanted or (evaluate.of is not None and name not in evaluate.of):
            continue
        yield (
            f"{name}.{EVALUATE}",
            EvaluateStep(
                checkpoint=STEP + name,
                **evaluate.model_dump(exclude={"of"}),
            ),
        )


def _planned(
    recipe: Recipe, registry: Registry, ledger: Ledger, name: str, config: StageConfig, steps: dict[str, PlannedStep]
) -> PlannedStep:
    inputs = tuple(_inputs(recipe, registry, config, steps))
    identity: dict[str, Any] = {
        "stage": config.stage,
        "stage_version": type(config).version,
        "config": _experiment(config),
        "inputs": {entry.field: entry.fingerprint for entry in inputs},
        "prompt": recipe.prompt.model_dump(mode="json"),
    }
    prompts = 0
    for mark in (Spends, Prompts):
        for field in fields_marked(type(config), mark):
            pools = getattr(config, field)
            identity[f"problems:{field}"] = ledger.digest(pools)
            prompts += len(ledger.problems(pools)) if mark is Prompts else 0
    data = getattr(config, "data", None)
    if isinstance(data, str):
        identity["problems:data"] = digest([[p.id, p.question] for p in ledger.data(data)])
    elif data:
        folder = Path(recipe.path).resolve().parent
        missing = [suite for suite, path in data.items() if not (folder / path).is_file()]
        if missing:
            expected = "(a relative path starts at the recipe's folder)"
            places = [f"evaluate.data.{suite}: no file {data[suite]!r} {expected}" for suite in missing]
            raise RecipeError(str(recipe.path), places)
        identity["suite_files"] = {suite: file_digest(folder / path) for suite, path in data.items()}
    fingerprint = digest(identity)
    return PlannedStep(
        name=name,
        config=config,
        inputs=inputs,
        identity=identity,
        fingerprint=fingerprint,
        spends=tuple(ledger.spent_by(name)) if name in recipe.steps else (),
        prompts=prompts,
        artifact=registry.find(config.stage, fingerprint),
    )


def _experiment(config: StageConfig) -> dict[str, Any]:
    """The config's values that are the experiment: references and paths are replaced by what they point to."""
    hidden = {"stage", *fields_marked(type(config), Input), "save_every"}
    if isinstance(getattr(config, "data", None), dict):
        hidden.add("data")
    return config.model_dump(mode="json", exclude=hidden)


def _inputs(
    recipe: Recipe, registry: Registry, config: StageConfig, steps: dict[str, PlannedStep]
) -> Iterator[PlannedInput]:
    for field in fields_marked(type(config), Input):
        reference = getattr(config, field)
        if reference.startswith(STEP):
            parent = steps[reference.removeprefix(STEP)]
            yield PlannedInput(field, reference, parent.fingerprint, parent.name, parent.output)
            continue
        local = external_folder(reference, recipe)
        if local is not None:
            require_weights(local)
            yield PlannedInput(field, reference, folder_fingerprint(local), None, None)
        elif reference.count("/") == 1:
            yield PlannedInput(field, reference, digest(["hub", reference]), None, None)
        else:  # an artifact that another recipe made; a word that names nothing is refused here, before anything runs
            model = resolve_model(reference, registry.root)
            yield PlannedInput(field, reference, str(model.fingerprint), None, model.folder.name)


def external_folder(reference: str, recipe: Recipe) -> Path | None:
    """The folder a reference names, relative to the recipe, or None where it is a hub name."""
    path = Path(reference).expanduser()
    path = path if path.is_absolute() else Path(recipe.path).resolve().parent / path
    if path.is_dir():
        return path
    return path if reference.startswith((".", "/", "~")) else None
