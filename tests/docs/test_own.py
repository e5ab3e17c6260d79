"""The pages about one's own data, reward, suite and stage, run as they are written, in an empty folder."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.bench import PROJECT
from tests.conftest import make_tiny_model

BLOCK = re.compile(r"^```\w+ (?P<info>file=(?P<file>\S+)|run)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)


def written(page: str, folder: Path) -> list[str]:
    """Writes a page's files into the folder; its commands."""
    commands: list[str] = []
    for block in BLOCK.finditer((PROJECT / "docs" / page).read_text(encoding="utf-8")):
        if block["file"] is None:
            commands += block["text"].strip().splitlines()
            continue
        (folder / block["file"]).parent.mkdir(exist_ok=True)
        (folder / block["file"]).write_text(block["text"], encoding="utf-8")
    return commands


def shell(command: str, folder: Path) -> str:
    command = re.sub(r"^python ", f"{sys.executable} ", command)
    environment = os.environ | {"PYTHONPATH": str(PROJECT)}
    done = subprocess.run(
        command, shell=True, cwd=folder, env=environment, capture_output=True, text=True, timeout=900, check=False
    )
    assert done.returncode == 0, f"{command}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    return done.stdout


def tiny_llama(folder: Path) -> None:
    from transformers import LlamaConfig, LlamaForCausalLM

    from reasoning_pipeline.data.tokenizer_making import save_character_tokenizer

    save_character_tokenizer(folder)
    LlamaForCausalLM(
        LlamaConfig(
            vocab_size=112, hidden_size=32, intermediate_size=64, num_hidden_layers=1, num_attention_heads=1,
            num_key_value_heads=1, max_position_embeddings=128, bos_token_id=None, eos_token_id=2, pad_token_id=0,
        )
    ).save_pretrained(folder)  # fmt: skip


def test_what_the_page_shows_of_the_tutorial_is_what_ships() -> None:
    folder, page = PROJECT / "recipes" / "tutorial", (PROJECT / "docs" / "own_data.md").read_text(encoding="utf-8")
    shown = re.findall(r"^```\w+ shipped=(\S+)\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    assert [name for name, _ in shown] == ["my_rewards.py", "held_out.yaml", "mine.yaml"]
    assert all((folder / name).read_text() == text for name, text in shown)
    rows = (folder / "errands.jsonl").read_text().splitlines()
    assert "\n".join(rows[:2]) in page and f"are {len(rows)} word problems" in page


def test_the_tutorial_s_data_are_what_its_generator_makes(tmp_path: Path) -> None:
    folder = PROJECT / "recipes" / "tutorial"
    (tmp_path / "make_errands.py").write_text((folder / "make_errands.py").read_text())
    assert subprocess.run([sys.executable, "make_errands.py"], cwd=tmp_path, check=False).returncode == 0
    for name in ("errands.jsonl", "held_out.csv"):
        assert (tmp_path / name).read_text() == (folder / name).read_text()
    questions = {json.loads(row)["ask"] for row in (folder / "errands.jsonl").read_text().splitlines()}
    assert not [
        row for row in (folder / "held_out.csv").read_text().splitlines() if row.rpartition(",")[0] in questions
    ]


@pytest.mark.slow
def test_a_stage_beside_the_recipe_and_the_python_api(tmp_path: Path) -> None:
    assert not written("own_stage.md", tmp_path)
    make_tiny_model(tmp_path / "model", seed=0)
    assert shell("python drive.py", tmp_path).splitlines()[-1] == "True correct"


@pytest.mark.slow
def test_the_notebook_s_cells_run_one_after_the_other(tmp_path: Path) -> None:
    notebook = json.loads((PROJECT / "docs/notebooks/first_run.ipynb").read_text(encoding="utf-8"))
    cells = ["".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == "code"]
    assert not [cell for cell in notebook["cells"] if cell.get("outputs")], "outputs are not kept"
    (tmp_path / "cells.py").write_text("\n".join(cells))
    lines = shell("python cells.py", tmp_path).splitlines()
    assert [line.split()[0] for line in lines[:3]] == ["teacher_base", "student_base", "teacher_rl"]
    assert sum(line.startswith("{'step': ") for line in lines) == 2
    assert lines[-1].startswith("arithmetic: ")
