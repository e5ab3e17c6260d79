"""docs/programs.md lists what `--json` prints, no more and no less."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

import pytest

from reasoning_pipeline.__main__ import main
from reasoning_pipeline.rollouts.servers import register
from tests.bench import Bench

PAGE = Path(__file__).parents[2] / "docs" / "programs.md"


def documented(command: str) -> set[str]:
    """Paths in the first column of the command's table."""
    section = PAGE.read_text().split(f"\n## {command}\n")[1].split("\n## ")[0]
    rows = [line.split("|")[1] for line in section.splitlines() if line.startswith("| `")]
    return {path for row in rows for path in re.findall("`([^`]+)`", row)}


def paths(value: Any, known: set[str], prefix: str = "") -> set[str]:
    """Of every leaf; what is documented whole (`a{}`, `a[]`) is not entered."""
    if f"{prefix}{{}}" in known or (prefix in known and not isinstance(value, dict | list)):
        return {prefix + ("{}" if f"{prefix}{{}}" in known else "")}
    if isinstance(value, list):
        if f"{prefix}[]" in known:
            return {f"{prefix}[]"}
        return {path for entry in value for path in paths(entry, known, f"{prefix}[]")}
    if isinstance(value, dict):
        return {path for key, entry in value.items() for path in paths(entry, known, f"{prefix}.{key}".lstrip("."))}
    return {prefix}


def printed(capsys: pytest.CaptureFixture[str], *words: object, status: int = 0) -> Any:
    assert main([str(word) for word in words]) == status
    return json.loads(capsys.readouterr().out)


@pytest.mark.parametrize("command", ["plan", "labels", "doctor"])
def test_what_a_command_about_a_recipe_prints(bench: Bench, capsys: pytest.CaptureFixture[str], command: str):
    plan = bench.plan()
    bench.publish(plan, "teacher_base")
    status = 1 if command == "doctor" else 0  # the profile's GPUs are not here
    hardware = ("--hardware", "node_8x80gb")
    found = printed(capsys, command, plan.recipe.path, "--root", bench.root, *hardware, "--json", status=status)
    assert paths(found, documented(command)) == documented(command)


def test_what_show_prints(bench: Bench, capsys: pytest.CaptureFixture[str]):
    bench.publish(bench.plan(), "teacher_base", "teacher_rl")
    found = printed(capsys, "show", "--root", bench.root, "--json")
    assert paths(found, documented("show")) == documented("show")
    assert set(printed(capsys, "show", "teacher_rl", "--root", bench.root, "--json")) == {"artifact", "record"}


def test_what_status_prints_without_an_answer(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    """With one: tests/rollouts/test_fleet.py."""
    folder = tmp_path / register.FOLDER
    register.write(folder, os.getpid(), url="http://127.0.0.1:9", model="tiny", log=tmp_path / "x.log")
    found = printed(capsys, "status", "--root", tmp_path, "--json", status=1)
    assert paths(found, documented("status")) <= documented("status")
    assert set(found["servers"][0]) == {"url", "host", "owner", "log", "model", "error"}
