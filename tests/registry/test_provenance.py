"""A record says how something came about, and nothing about who and where."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

from reasoning_pipeline.registry import provenance as module
from reasoning_pipeline.registry.provenance import (
    code_revision,
    command_line,
    provenance,
    without_places,
    write_code_diff,
)


def test_it_says_what_a_result_depended_on():
    found = provenance("cpu", seconds=7200.0, processes=2)
    assert set(found) == {
        *("command", "code", "python", "packages", "hardware", "wall_seconds", "cpu_seconds", "cpu_hours", "gpu_hours"),
        *("peak_memory_mib", "peak_gpu_memory_mib"),
    }
    hardware = found["hardware"]
    assert hardware["profile"] == "cpu" and hardware["processes"] == 2
    assert hardware["cpus"] >= 1 and hardware["memory_gib"] > 0 and hardware["cpu"]
    assert found["wall_seconds"] == 7200.0 and found["peak_memory_mib"] > 10
    # Both are rounded from what was counted, not one from the other.
    assert found["cpu_hours"] == pytest.approx(2 * found["cpu_seconds"] / 3600, abs=1e-4)
    assert json.loads(json.dumps(found)) == found


def test_gpu_hours_are_processes_times_wall_time(monkeypatch: pytest.MonkeyPatch):
    assert provenance("cpu", seconds=3600.0)["gpu_hours"] == 0.0
    monkeypatch.setattr(module, "gpu_names", lambda: ["NVIDIA A100"])
    assert provenance("node", seconds=1800.0, processes=8)["gpu_hours"] == 4.0


@pytest.mark.parametrize(
    ("argv", "text"),
    [
        (["/home/ann/p/evals/__main__.py", "run", "recipes/a.yaml"], "evals run recipes/a.yaml"),
        (["/x/evals/__main__.py", "run", "/home/ann/a.yaml", "--root", "~/runs"], "evals run …/a.yaml --root …/runs"),
        (["/x/evals/__main__.py", "--set", "data.mine.path=/home/ann/q"], "evals --set data.mine.path=…/q"),
        (["/x/evals/__main__.py", "--set", "prompt.suffix=two words"], "evals --set 'prompt.suffix=two words'"),
        (["/x/bin/program", "a"], "program a"),
    ],
)
def test_the_command_is_kept_without_its_places(argv: list[str], text: str):
    assert command_line(argv) == f"python -m {text}"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("/home/ann/models/qwen", "…/qwen"),
        ("~/models/qwen", "…/qwen"),
        ("../models/qwen", "../models/qwen"),
        ("Qwen/Qwen3-1.7B", "Qwen/Qwen3-1.7B"),
        ("/no_think", "/no_think"),  # a word of the prompt
        ({"a": ["/srv/data/x.jsonl"], "b": 1, "c": None}, {"a": ["…/x.jsonl"], "b": 1, "c": None}),
        ("token hf_abcdefghijklmnop", "token …"),
        ("sk-0123456789abcdef", "…"),
    ],
)
def test_places_and_secrets_are_left_out(value: Any, text: Any):
    assert without_places(value) == text


def test_the_home_folder_is_left_out_of_sentences(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setenv("HOME", str(tmp_path / "ann"))
    assert without_places(f"no file {tmp_path}/ann/x.json here") == "no file ~/x.json here"


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository that holds this module."""

    def git(*arguments: str) -> None:
        subprocess.run(
            ["git", "-c", "user.name=a", "-c", "user.email=a@b", *arguments],
            cwd=tmp_path,
            check=True,
            capture_output=True,
        )

    git("init")
    (tmp_path / "provenance.py").write_text("one = 1\n")
    git("add", ".")
    git("commit", "-m", "first")
    monkeypatch.setattr(module, "__file__", str(tmp_path / "provenance.py"))
    return tmp_path


def test_changed_code_is_kept_as_a_diff(checkout: Path, tmp_path: Path):
    out = tmp_path / "out"
    out.mkdir()
    revision = code_revision()
    assert re.fullmatch(r"[0-9a-f]{40}", revision["commit"]) and revision["dirty"] is False
    write_code_diff(out)
    assert list(out.iterdir()) == []
    (checkout / "provenance.py").write_text("one = 2  # hf_abcdefghijklmnop\n")
    (checkout / "untracked.py").write_text("not mine to keep")
    assert code_revision()["dirty"] is True
    write_code_diff(out)
    text = (out / "code.diff").read_text()
    assert "-one = 1\n+one = 2  # …\n" in text and "untracked" not in text
    (checkout / "provenance.py").write_text("x = '" + "y" * (2 << 20) + "'\n")
    write_code_diff(out)
    assert (1 << 20) < (out / "code.diff").stat().st_size < (1 << 20) + 100
    assert "cut here, of 2,0" in (out / "code.diff").read_text()


def test_somebody_else_s_repository_is_not_taken_for_ours(checkout: Path, monkeypatch: pytest.MonkeyPatch):
    # installed into a folder inside their checkout, which git does not track
    installed = checkout / "site-packages"
    installed.mkdir()
    monkeypatch.setattr(module, "__file__", str(installed / "provenance.py"))
    assert code_revision() == {}
