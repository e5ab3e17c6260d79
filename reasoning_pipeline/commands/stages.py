"""`stages`: what there is to build a recipe from, and every key of it."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from reasoning_pipeline.commands import COMMANDS
from reasoning_pipeline.errors import PipelineError

if TYPE_CHECKING:
    from pydantic import BaseModel


def add(commands: argparse._SubParsersAction) -> None:
    stages = commands.add_parser("stages", help=COMMANDS["stages"].text)
    stages.add_argument("kind", nargs="?", help="one of them: each of its keys with type, default and meaning")
    stages.add_argument(
        "--reference", type=Path, metavar="FOLDER", help="write the keys of everything as pages, as in docs/reference"
    )
    stages.set_defaults(command=_stages)


def _stages(arguments: argparse.Namespace) -> int:
    from reasoning_pipeline.base.files import write_text
    from reasoning_pipeline.base.validation import suggestion
    from reasoning_pipeline.recipe.workflows import stage_kinds, stage_module

    if arguments.reference is not None:
        arguments.reference.mkdir(parents=True, exist_ok=True)
        for name, text in pages().items():
            write_text(arguments.reference / name, text)
            print(arguments.reference / name)
    elif arguments.kind is not None:
        if arguments.kind not in stage_kinds():
            raise PipelineError(
                f"no stage {arguments.kind!r}{suggestion(arguments.kind, stage_kinds())}",
                remedy="`stages` alone lists them",
            )
        module = stage_module(arguments.kind)
        print((module.__doc__ or "").strip() + "\n")
        _print_keys(module.Config)
    else:
        for kind in stage_kinds():
            print(f"{kind}\n    {_summary(kind)}")
    return 0


def _summary(kind: str) -> str:
    from reasoning_pipeline.recipe.workflows import stage_text

    return " ".join(stage_text(kind).split("\n\n")[0].split())


def _print_keys(model: type[BaseModel]) -> None:
    from rich.console import Console
    from rich.padding import Padding

    from reasoning_pipeline.recipe.reference import keys

    console = Console(highlight=False, markup=False)
    for key in keys(model):
        console.print(f"{key.name}: {key.type}; {_default(key.default)}".replace("`", ""), soft_wrap=True)
        if key.meaning:
            console.print(Padding(key.meaning, (0, 0, 0, 4)))


def _default(default: str) -> str:
    return default if default == "required" else f"default {default}"


def pages() -> dict[str, str]:
    """File name -> Markdown: the keys of recipes, of each stage, of hardware profiles and of suites."""
    from reasoning_pipeline.data.config import DataConfig, PromptConfig
    from reasoning_pipeline.data.suites.spec import SuiteSpec
    from reasoning_pipeline.hardware.profile import HardwareProfile
    from reasoning_pipeline.recipe.model import ArmEdit, Recipe
    from reasoning_pipeline.recipe.sections import sections
    from reasoning_pipeline.recipe.workflows import stage_kinds, stage_module

    said = [section for section in sections() if section.model.model_fields.keys() != {"root"}]
    recipe: list[tuple[str, str, type[BaseModel]]] = [
        ("The recipe", "A YAML file. `extends: other.yaml` starts from another one.", Recipe),
        ("`data.NAME`", "One data set.", DataConfig),
        ("`prompt`", "", PromptConfig),
        ("`arms.NAME`", "", ArmEdit),
        *((f"`{section.key}`", "", section.model) for section in said),
    ]
    stages = [(f"`stage: {kind}`", _summary(kind), stage_module(kind).Config) for kind in stage_kinds()]
    return {
        "recipe.md": _page("Keys of a recipe", recipe),
        "stages.md": _page("Keys of each stage", stages),
        "profile.md": _page("Keys of a hardware profile", [("The profile", "", HardwareProfile)]),
        "suite.md": _page("Keys of a suite", [("The suite", "", SuiteSpec)]),
    }


def _page(title: str, parts: list[tuple[str, str, type[BaseModel]]]) -> str:
    return "\n".join([f"# {title}", "", *(line for part in parts for line in _part(*part))]).rstrip() + "\n"


def _part(title: str, about: str, model: type[BaseModel]) -> Iterator[str]:
    from reasoning_pipeline.recipe.model import Recipe
    from reasoning_pipeline.recipe.reference import keys

    yield from (f"## {title}", "", *((about, "") if about else ()))
    yield from ("| key | type | default | meaning |", "|---|---|---|---|")
    for key in keys(model):
        if model is Recipe and ("." in key.name or key.name in ("sections", "path")):
            continue  # parts of their own; what reading fills in
        cells = (f"`{key.name}`", key.type, key.default, key.meaning)
        yield f"| {' | '.join(cell.replace('|', '&#124;') for cell in cells)} |"
    yield ""
