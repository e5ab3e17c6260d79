"""Sessions from MemoryBench's layout on the hub: a configuration a set, dialogues as text."""

from __future__ import annotations

import json
from typing import Any

import pytest
import yaml

from reasoning_pipeline.registry.store import Registry
from tests.hub.conftest import World
from tests.hub.standin import Hub

pytestmark = pytest.mark.slow

CARD = "---\nconfigs:\n" + "".join(
    f"- config_name: {name}\n  data_files:\n"
    f"  - {{split: train, path: {name}/train.jsonl}}\n  - {{split: test, path: {name}/test.jsonl}}\n"
    for name in ("JuDGE", "NFCats")
)


def row(name: str, number: int, *turns: str, language: str = "en") -> dict[str, Any]:
    """Turns by user and assistant in turn; a dialogue is kept as Python writes it."""
    dialog = [{"role": ("user", "assistant")[at % 2], "content": text} for at, text in enumerate(turns)]
    return {
        "test_idx": number,
        "input_prompt": turns[0],
        "dataset_name": name,
        "lang": language,
        "info": str({"golden_answer": "…"}),
        "dialog": str(dialog),
        "implicit_feedback": str([]),
    }


def rows(*made: dict[str, Any]) -> str:
    return "".join(json.dumps(one, ensure_ascii=False) + "\n" for one in made)


def test_its_dialogues_become_logs_at_a_commit(world: World, hub: Hub) -> None:
    files = {
        "README.md": CARD + "---\n",
        "JuDGE/train.jsonl": rows(
            row("JuDGE", 3, "案件", "判决。", "请更详细", "判决如下。", language="zh"),
            row("JuDGE", 4, "案件", "判决。"),
        ),
        "JuDGE/test.jsonl": rows(row("JuDGE", 9, "unseen", "x", "y")),
        "NFCats/train.jsonl": rows(row("NFCats", 0, "why?", "so", 'it\'s shorter, "please"')),
        "NFCats/test.jsonl": rows(row("NFCats", 1, "unseen", "x", "y")),
    }
    first = hub.commit("datasets", "THUIR/MemoryBench", files)
    hub.commit("datasets", "THUIR/MemoryBench", {"NFCats/train.jsonl": rows(row("NFCats", 0, "moved", "a", "b"))})
    logs = {"id": "THUIR/MemoryBench", "subsets": ["JuDGE", "NFCats"], "revision": first}
    world.path.write_text(yaml.safe_dump({"name": "mine", "steps": {"logs": {"stage": "read_logs", "hub": logs}}}))
    done = world.call(
        "-m", "reasoning_pipeline", "run", world.path, "--root", world.root, "--hardware", "cpu_transformers"
    )
    assert done.returncode == 0, done.stdout + done.stderr
    (made,) = Registry(world.root).artifacts()
    assert made.record.result == {"logs": 2, "set_aside": {"no feedback": 1}}
    found = [json.loads(line) for line in (made.folder / "logs.jsonl").read_text().splitlines()]
    assert [(log["id"], log["language"], log["answer"], log["feedback"]) for log in found] == [
        ("JuDGE/3", "zh", "判决。", ["请更详细"]),
        ("NFCats/0", "en", "so", ['it\'s shorter, "please"']),
    ]
    aside = json.loads((made.folder / "set_aside.jsonl").read_text())
    assert aside == {"line": "THUIR/MemoryBench/JuDGE[1]", "reason": "no feedback"}


def test_a_set_that_is_not_there_ends_the_step(world: World, hub: Hub) -> None:
    hub.commit("datasets", "THUIR/MemoryBench", {"README.md": CARD + "---\n"})
    logs = {"id": "THUIR/MemoryBench", "subsets": ["Nothing"]}
    world.path.write_text(yaml.safe_dump({"name": "mine", "steps": {"logs": {"stage": "read_logs", "hub": logs}}}))
    done = world.call(
        "-m", "reasoning_pipeline", "run", world.path, "--root", world.root, "--hardware", "cpu_transformers"
    )
    assert done.returncode != 0 and "data set 'THUIR/MemoryBench' could not be loaded" in done.stderr
