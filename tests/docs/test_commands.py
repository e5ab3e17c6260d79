"""Every command in README and docs is one that its command line takes; those about recipes that ship can be planned."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

import evals.cli
import evals.commands
import launch.__main__
import reasoning_pipeline.__main__
from reasoning_pipeline.recipe.shipped import RECIPES
from tests.bench import PROJECT

MODEL = PROJECT / "runs" / "models" / "SmolLM2-135M-Instruct"
PAGES = (PROJECT / "README.md", *sorted((PROJECT / "docs").glob("*.md")))
PROGRAMS = "pipeline|evals|launch"
OURS = re.compile(rf"^(?:[A-Z_]+=\S+ )*(?:(?:\.venv/bin/)?python -m (?:reasoning_)?|reasoning-)({PROGRAMS}) (.*)$")


def commands() -> list[tuple[str, str, str]]:
    """(page, program, its words) of every line of a fenced block that starts one of our programs."""
    found = []
    for page in PAGES:
        for block in re.findall(r"^```\w*\n(.*?)^```", page.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE):
            for line in block.replace("\\\n", " ").splitlines():
                if (command := OURS.match(line.strip())) is not None:
                    found.append((page.name, command[1], command[2]))
    return found


def words_of(text: str) -> list[str]:
    return [word.strip("[]") for word in shlex.split(text, comments=True) if word not in ("…", "[…]")]


@pytest.mark.parametrize(("page", "program", "text"), commands(), ids=lambda value: str(value)[:60])
def test_a_command_in_the_docs_is_one_that_its_program_takes(page: str, program: str, text: str) -> None:
    words = words_of(text)
    if program == "pipeline":
        reasoning_pipeline.__main__._parser(words).parse_args(words)
    elif program == "launch":
        launch.__main__._parser().parse_args(words)
    elif words[0] not in evals.commands.COMMANDS:
        evals.cli._parser().parse_args(words)


def plannable() -> list[tuple[str, str]]:
    """(recipe, profile) of every command about a recipe that ships."""
    found = {}
    for _, program, text in commands():
        words = words_of(text)
        recipe = next((word for word in words[1:] if (RECIPES.parent / word).is_file() and "recipes/" in word), None)
        if program != "evals" and recipe is not None:
            profile = words[words.index("--hardware") + 1] if "--hardware" in words else "cpu"
            found[recipe, profile] = None
    return [*found]


@pytest.mark.slow
@pytest.mark.parametrize(("recipe", "profile"), plannable())
def test_a_recipe_in_the_docs_can_be_planned_where_they_run_it(recipe: str, profile: str, tmp_path: Path) -> None:
    if "real_text" in recipe and not MODEL.is_dir():
        pytest.skip("make real-model fetches the model that it starts from")
    words = ["plan", str(PROJECT / recipe), "--hardware", profile, "--root", str(tmp_path)]
    assert reasoning_pipeline.__main__.main(words) == 0
