"""A recipe on a model of a stand-in hub, and the project's commands with it."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from huggingface_hub import constants, snapshot_download
from safetensors.numpy import save

from launch.__main__ import main as launch_main
from reasoning_pipeline.__main__ import main as pipeline_main
from reasoning_pipeline.data.tokenizer_making import save_character_tokenizer
from reasoning_pipeline.models.families import HEAD, parameters
from reasoning_pipeline.plan.planner import make_plan
from reasoning_pipeline.recipe.reading import load_recipe
from reasoning_pipeline.run.process import input_folder
from tests.hub.standin import Hub, serving

PROJECT = Path(__file__).resolve().parents[2]


ARCHITECTURE = {
    "model_type": "qwen3", "architectures": ["Qwen3ForCausalLM"], "tie_word_embeddings": True, "vocab_size": 112,
    **dict.fromkeys(["hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "head_dim"], 2),
    "num_key_value_heads": 2,
}  # fmt: skip
CONFIG = json.dumps(ARCHITECTURE)


def weights(number: float, part: slice = slice(None)) -> bytes:
    """A file of every weight of that architecture, or of some, all of them this number."""
    shapes = {name: shape for name, shape in (parameters(ARCHITECTURE) or {}).items() if name != HEAD}
    return bytes(save({name: np.full(shapes[name], number, np.float32) for name in sorted(shapes)[part]}))  # type: ignore[arg-type]


def in_two_files(number: float) -> dict[str, str | bytes]:
    """The same weights divided, with their index."""
    files = {"model-1.safetensors": slice(0, 5), "model-2.safetensors": slice(5, None)}
    names = sorted(name for name in parameters(ARCHITECTURE) or {} if name != HEAD)
    index = {"weight_map": {name: file for file, part in files.items() for name in names[part]}}
    divided = {file: weights(number, part) for file, part in files.items()}
    return {**divided, "model.safetensors.index.json": json.dumps(index)}


def tokenizer() -> dict[str, str]:
    """With a chat template and an end token."""
    with tempfile.TemporaryDirectory() as folder:
        save_character_tokenizer(Path(folder))
        return {path.name: path.read_text(encoding="utf-8") for path in Path(folder).iterdir()}


MODEL = {
    "config.json": CONFIG,
    **tokenizer(),
    "model.safetensors": weights(1.0),
    "README.md": "a model",
}
"""Enough to be planned with."""


class World:
    """A recipe, its root and a cache of the hub's. This process asks the stand-in and no other hub.

    Example:
        world.prefetch(); world.facts()["folder"]
    """

    def __init__(self, folder: Path, hub: Hub, patch: pytest.MonkeyPatch) -> None:
        self.folder, self.hub, self.patch = folder, hub, patch
        self.path, self.root = folder / "mine.yaml", folder / "runs"
        patch.setattr(constants, "ENDPOINT", hub.address)
        patch.setattr(
            constants, "HUGGINGFACE_CO_URL_TEMPLATE", hub.address + "/{repo_id}/resolve/{revision}/{filename}"
        )
        patch.delenv("HF_TOKEN", raising=False)
        self.machine("home")
        self.offline(False)
        self.recipe()

    def machine(self, name: str) -> None:
        """Another cache."""
        self.home = self.folder / name
        self.patch.setattr(constants, "HF_HUB_CACHE", str(self.home / "hub"))

    def offline(self, offline: bool = True) -> None:
        self.patch.setattr(constants, "HF_HUB_OFFLINE", offline)
        self.patch.setenv("HF_HUB_OFFLINE", str(int(offline)))

    def recipe(self, policy: str = "me/tiny", **data: Any) -> None:
        step = {
            "stage": "sparse_grpo", "policy": policy, "spends": "first", "problems_per_step": 4, "group_size": 2,
            "steps": 2, "learning_rate": 1e-12, "max_prompt_tokens": 32, "max_completion_tokens": 24,
        }  # fmt: skip
        source = {"source": "arithmetic", "count": 16} | data
        values = {"name": "mine", "data": {"problems": {**source, "pools": {"first": 1}}}, "steps": {"rl": step}}
        self.path.write_text(yaml.safe_dump(values))

    @property
    def lock(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.root / "mine" / "hub.json").read_text())
        return found

    def pipeline(self, command: str, *more: str | Path, root: bool = True) -> str:
        """What `python -m reasoning_pipeline COMMAND` of the recipe prints, errors too."""
        words = [self.path, "--hardware", "cpu_transformers"] if root else []
        return _said(pipeline_main, command, *words, *more, "--root", self.root)

    def prefetch(self) -> str:
        return _said(launch_main, "prefetch", self.path, "--root", self.root)

    def facts(self) -> dict[str, Any]:
        """What is planned, and the folder that its step would load."""
        plan = make_plan(load_recipe(self.path), self.root)
        step = plan.step("rl")
        return {
            "fingerprint": step.fingerprint,
            "outside": step.identity["outside"]["policy"],
            "folder": input_folder(plan, step, "policy"),
            "questions": [problem.question for problem in step.problems()],
        }

    def somebody_else_fetches(self) -> None:
        """Another program brings today's main into the cache of this machine."""
        snapshot_download("me/tiny")

    def call(self, *command: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
        """`python …` as a process that has this hub for the hub."""
        kept = {key: value for key, value in os.environ.items() if not key.startswith(("HF_", "TRANSFORMERS_"))}
        kept |= self.hub.environment(self.home) | environment | {"PYTHONPATH": str(PROJECT), "COLUMNS": "200"}
        words = [sys.executable, *map(str, command)]
        return subprocess.run(words, cwd=self.folder, env=kept, capture_output=True, text=True, check=False)


def _said(main: Callable[[list[str]], int], *words: str | Path) -> str:
    printed = io.StringIO()
    with redirect_stdout(printed), redirect_stderr(printed):
        main([str(word) for word in words])
    return printed.getvalue()


@pytest.fixture
def hub() -> Iterator[Hub]:
    with serving() as found:
        yield found


@pytest.fixture
def world(tmp_path: Path, hub: Hub, monkeypatch: pytest.MonkeyPatch) -> World:
    monkeypatch.setenv("COLUMNS", "200")
    return World(tmp_path, hub, monkeypatch)
