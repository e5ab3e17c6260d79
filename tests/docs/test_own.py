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


@pytest.mark.slow
def test_a_stranger_s_data_reward_suite_and_model(tmp_path: Path) -> None:
    doctor, run, report, evals = written("own_data.md", tmp_path)
    make_tiny_model(tmp_path / "model", seed=0)
    shell(doctor, tmp_path)
    shell(run, tmp_path)
    shell(report, tmp_path)
    page = (tmp_path / "runs/mine/report.html").read_text(encoding="utf-8")
    assert "Held-out sums" in page or "held_out" in page
    (record,) = (tmp_path / "runs/registry").glob("evaluate-*/record.json")
    assert list(json.loads(record.read_text())["result"]["suites"]) == ["held_out"]
    assert shell(evals, tmp_path).startswith("held_out  ")
    assert "7 of 7" not in (again := shell(run, tmp_path)) and "up to date" in again
    (tmp_path / "my_rewards.py").write_text((tmp_path / "my_rewards.py").read_text().replace("0.1", "0.2"))
    assert "my_rewards" in shell("python -m reasoning_pipeline why mine.yaml tuned", tmp_path)


@pytest.mark.slow
def test_the_same_page_with_a_llama(tmp_path: Path) -> None:
    _, run, _, _ = written("own_data.md", tmp_path)
    tiny_llama(tmp_path / "model")
    shell(run, tmp_path)
    assert list((tmp_path / "runs/registry").glob("evaluate-*/record.json"))


@pytest.mark.slow
def test_a_stage_beside_the_recipe_and_the_python_api(tmp_path: Path) -> None:
    assert not written("own_stage.md", tmp_path)
    make_tiny_model(tmp_path / "model", seed=0)
    assert shell("python drive.py", tmp_path).splitlines()[-1] == "True correct"
