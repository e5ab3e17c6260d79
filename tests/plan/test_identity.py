"""Every field of every stage is part of its identity, the ones of tomorrow too; circumstances never are."""

from __future__ import annotations

import types
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import pytest
from pydantic import BaseModel, ValidationError

from reasoning_pipeline.base.fingerprint import digest
from reasoning_pipeline.plan.identity import _experiment
from reasoning_pipeline.recipe.reading import load_recipe
from reasoning_pipeline.recipe.stage import File, Input, StageConfig, fields_marked
from reasoning_pipeline.recipe.workflows import stage_kinds, stage_module
from reasoning_pipeline.workflows.reasoning.evaluation import EvaluateStep
from tests.bench import OUTSIDE_FILES, PROJECT, Bench, made_up_weights, write_files

CIRCUMSTANCES = {"save_every"}
"""When a resume point is written changes nothing that is published."""

NAMES = {"stage"}
"""Stands in the identity by itself; a stage has one value for it."""

EXAMPLES: dict[type, dict[str, Any]] = {
    EvaluateStep: {
        "checkpoint": "step:a", "suites": ("arithmetic",), "data": {"arithmetic": "a.jsonl"}, "samples": 2,
        "temperature": 1.0, "top_p": 1.0, "top_k": 0, "max_tokens": 8,
    }
}  # fmt: skip


def configs() -> list[type[StageConfig]]:
    return [*(stage_module(kind).Config for kind in stage_kinds()), EvaluateStep]


def example(config: type[StageConfig]) -> StageConfig:
    """A valid config: that of its smoke recipe, else required fields made up, and one of the ways to give a length."""
    recipe = PROJECT / "recipes" / "smoke" / f"{config.model_fields['stage'].default}.yaml"
    for step in load_recipe(recipe).steps.values() if recipe.is_file() else ():
        if isinstance(step, config):
            return step
    required = {name: made_up(field.annotation) for name, field in config.model_fields.items() if field.is_required()}
    for more in ({}, {"steps": 4}, {"epochs": 1.0}):
        try:
            return config.model_validate({**required, **EXAMPLES.get(config, {}), **more})
        except ValidationError as error:
            last = error
    raise last


def made_up(annotation: Any) -> Any:
    return next(others(annotation, None))


def others(annotation: Any, value: Any) -> Iterator[Any]:
    """Values of a type that are not `value`, likely ones first."""
    if get_origin(annotation) is typing.Annotated:
        annotation = get_args(annotation)[0]
    if get_origin(annotation) in (types.UnionType, typing.Union):
        for option in get_args(annotation):
            yield from others(option, value)
    elif get_origin(annotation) is Literal:
        yield from (option for option in get_args(annotation) if option != value)
    elif annotation is type(None):
        if value is not None:
            yield None
    elif isinstance(annotation, type) and issubclass(annotation, bool):
        yield not value
    elif annotation in (int, float):
        number = value if isinstance(value, int | float) else 2
        yield from (annotation(n) for n in (number + 1, number / 2, number + 64, 0.5) if n != value)
    elif annotation is str:
        yield f"{value or ''}x"
    elif get_origin(annotation) is tuple:
        yield ("first", "other")
        yield from ((inner,) for inner in others(get_args(annotation)[0], None))
    elif get_origin(annotation) is dict:
        yield {"arithmetic": "other.jsonl"}
    elif isinstance(annotation, type) and issubclass(annotation, BaseModel):
        for name, field in annotation.model_fields.items():
            for inner in others(field.annotation, getattr(value, name, None)):
                yield {**(value.model_dump() if value is not None else {}), name: inner}


def changed(config: StageConfig, field: str) -> StageConfig:
    """The same config with another valid value in one field; a field that has to give way to it goes."""
    values = config.model_dump()
    for value in others(type(config).model_fields[field].annotation, getattr(config, field)):
        for without in ((), ("steps",), ("epochs",)):
            left = {name: v for name, v in values.items() if name not in without or name == field}
            try:
                found = type(config).model_validate({**left, field: value})
            except ValidationError:
                continue
            if getattr(found, field) != getattr(config, field):
                return found
    for value in others(type(config).model_fields[field].annotation, getattr(config, field)):
        return config.model_copy(update={field: value})  # valid with another field changed too, which would hide it
    pytest.fail(f"{type(config).__module__}.{field}: no other value was found; teach `others` its type")


@pytest.mark.parametrize("kind", configs(), ids=lambda config: config.model_fields["stage"].default)
def test_every_field_that_is_the_experiment_is_in_the_identity(kind: type[StageConfig]):
    config = example(kind)
    before = digest(_experiment(config))
    fields = kind.model_fields.items()
    single = {n for n, f in fields if get_origin(f.annotation) is Literal and len(get_args(f.annotation)) == 1}
    hidden = NAMES | CIRCUMSTANCES | single | fields_marked(kind, Input).keys()
    hidden |= fields_marked(kind, File).keys()  # by the contents of the files: test_plan
    for field in kind.model_fields.keys() - hidden:
        assert digest(_experiment(changed(config, field))) != before, field
    for field in kind.model_fields.keys() & CIRCUMSTANCES:
        assert digest(_experiment(changed(config, field))) == before, field


def test_where_registry_and_recipe_lie_moves_nothing(bench: Bench, tmp_path: Path):
    here = {step.name: step.fingerprint for step in bench.plan().steps}
    (tmp_path / "else").mkdir()
    there = Bench(tmp_path / "else")
    assert {step.name: step.fingerprint for step in there.plan().steps} == here


def test_the_tokenizer_and_the_template_that_a_stage_makes_are_in_the_identity(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
):
    from reasoning_pipeline.data import tokenizer_making

    before = bench.plan()
    for name, value in (("ARITHMETIC_TEMPLATE", "x"), ("CHARACTERS", ("a",)), ("SETTINGS", {"eos_token": "a"})):
        with monkeypatch.context() as patch:
            patch.setattr(tokenizer_making, name, value)
            after = bench.plan()
        moved = {step.name for step in after.steps if step.fingerprint != before.step(step.name).fingerprint}
        assert moved == set(before.names()), name


def test_the_tokenizer_of_a_model_from_outside_is_in_the_identity(bench: Bench):
    folder = write_files(bench.folder / "model", OUTSIDE_FILES | {"tokenizer.json": "{}", "chat_template.jinja": "a"})

    def fingerprint() -> str:
        return bench.plan(lambda r: r["steps"]["teacher_rl"].update(policy="./model")).step("teacher_rl").fingerprint

    before = fingerprint()
    others = {"tokenizer.json": "{} ", "chat_template.jinja": "b", "model.safetensors": made_up_weights("others")}
    for name, other in others.items():
        text = (folder / name).read_text()
        (folder / name).write_text(other)
        assert fingerprint() != before, name
        (folder / name).write_text(text)
    assert fingerprint() == before


def test_an_artifact_given_by_its_folder_is_what_it_is_by_name(bench: Bench):
    (found,) = bench.publish(bench.plan(), "teacher_base")
    by_path, by_name = (
        bench.plan(lambda r, policy=policy: r["steps"]["polish"].update(policy=policy)).step("polish").fingerprint
        for policy in (str(found.folder), found.name)
    )
    assert by_path == by_name
