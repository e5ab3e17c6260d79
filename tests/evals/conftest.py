"""A tiny tokenizer folder and small problem files."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from reasoning_pipeline.data.config import PromptConfig
from reasoning_pipeline.data.prompts import PromptRenderer
from reasoning_pipeline.data.suites.loading import Suite, load_suite
from reasoning_pipeline.records import Decoding

TEMPLATE = (
    "{% for message in messages %}<|{{ message.role }}|>{{ message.content }}<|end|>{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% if enable_thinking %}<think>\n{% endif %}{% endif %}"
)


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a byte-level tokenizer, so that every text comes back as it went in, and a chat template."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE(vocab={symbol: i for i, symbol in enumerate(alphabet)}, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken("<|end|>", special=True)])
    folder = tmp_path_factory.mktemp("model")
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text(json.dumps({"eos_token": "<|end|>"}))
    (folder / "chat_template.jinja").write_text(TEMPLATE)
    return folder


@pytest.fixture(scope="session")
def renderer(model_folder: Path) -> PromptRenderer:
    return PromptRenderer.from_folder(model_folder, PromptConfig(suffix="\nBox the answer."))


@pytest.fixture
def decoding() -> Decoding:
    return Decoding(max_tokens=4_000, seed=7)


Write = Callable[..., Path]


@pytest.fixture
def write_rows(tmp_path: Path) -> Write:
    """write_rows([{...}, ...], "name.jsonl") -> path"""

    def write(rows: list[dict[str, Any]], name: str = "small.jsonl") -> Path:
        path = tmp_path / name
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        return path

    return write


@pytest.fixture
def small(write_rows: Write) -> Suite:
    """Four problems with plain answers 10, 11, 12, 13 in two levels."""
    rows = [
        {"unique_id": f"p{i}", "problem": f"What is {i} + 10?", "answer": str(i + 10), "level": 1 + i % 2}
        for i in range(4)
    ]
    return load_suite(str(write_rows(rows)))
