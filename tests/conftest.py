"""Fixtures shared by all tests: a tiny Qwen3 in a folder, as pretraining would publish it; a bench of recipes."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from xdist.scheduler import LoadScopeScheduling

from tests.bench import Bench

# One thread a process: two cores are shared by trainer, server and tests.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
# What these tests write need not outlive a loss of power, and a busy disk takes a tenth of a second each time.
os.fsync = lambda descriptor: None


TOGETHER = {"tests/contract": "smoke", "tests/run": "smoke", "tests/rollouts": "servers"}
"""Folders whose tests share what takes long to make: the smoke recipes' artifacts, a running server."""
ALONE = {f"tests/run/test_{name}.py" for name in ("arms_run", "side_by_side", "stopping")}
"""Files of theirs that make all they need."""


class BySharing(LoadScopeScheduling):
    """Of two workers, one does all tests of such folders, in their order; all others go file by file."""

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.split("::", maxsplit=1)[0]
        return file if file in ALONE else TOGETHER.get(file.rpartition("/")[0], file)


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> BySharing:
    return BySharing(config, log)


def make_tiny_model(folder: Path, *, seed: int, hidden_size: int = 32, layers: int = 2, vocabulary: int = 112) -> Path:
    """Random weights, the character tokenizer, the arithmetic chat template."""
    import torch
    from transformers import Qwen3Config, Qwen3ForCausalLM

    from reasoning_pipeline.data.tokenizer_making import save_character_tokenizer

    save_character_tokenizer(folder)
    torch.manual_seed(seed)
    model = Qwen3ForCausalLM(
        Qwen3Config(
            vocab_size=vocabulary,
            hidden_size=hidden_size,
            intermediate_size=2 * hidden_size,
            num_hidden_layers=layers,
            num_attention_heads=2,
            num_key_value_heads=2,
            head_dim=32,  # vLLM's CPU attention has no kernel for narrower heads
            max_position_embeddings=128,
            tie_word_embeddings=True,
            bos_token_id=None,
            eos_token_id=2,
            pad_token_id=0,
            initializer_range=0.2,  # wide enough that two seeds disagree clearly
        )
    )
    model.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_model(tmp_path_factory.mktemp("models") / "tiny", seed=1)


@pytest.fixture(scope="session")
def other_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same architecture with other weights."""
    return make_tiny_model(tmp_path_factory.mktemp("models") / "other", seed=2)


@pytest.fixture(scope="session")
def smoke_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One registry for all runs of the session, so that equal steps are done once."""
    return tmp_path_factory.mktemp("runs")


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


@pytest.fixture
def rows(tmp_path: Path) -> Callable[..., Path]:
    """rows([{...}, ...], "name.jsonl") -> path"""

    def write(items: list[Any], name: str = "problems.jsonl") -> Path:
        path = tmp_path / name
        path.write_text("".join(json.dumps(item) + "\n" for item in items), encoding="utf-8")
        return path

    return write
