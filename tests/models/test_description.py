"""What describes a model beside its weights goes from start to result byte for byte; nothing is made up."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from reasoning_pipeline.models.description import carry_over, dropouts, ignored_defaults
from tests.models.folders import copied, edit, says


@pytest.fixture
def start(tmp_path: Path, tiny_model: Path) -> Path:
    return copied(tiny_model, tmp_path / "start")


def saved(start: Path, folder: Path) -> Path:
    """As trainers leave a model: files of their own, settings of their own."""
    copied(start, folder)
    says(folder, eos_token_id=[0, 2])
    edit(folder / "config.json", lambda c: c.update(use_cache=False, attention_dropout=0.0, eos_token_id=2))
    edit(folder / "tokenizer_config.json", lambda c: c.update(padding_side="left", extra=1))
    for name in ("training_args.bin", "README.md", "special_tokens_map.json", "added_tokens.json"):
        (folder / name).write_text("{}")
    return folder


def test_every_file_but_the_weights_is_the_starts(start: Path, tmp_path: Path):
    (start / "special_tokens_map.json").write_text('{"eos_token": "<|im_end|>"}\n')
    for name in ("tekken.json", "spiece.model", "chat_template.json"):  # tokenizers of other families
        (start / name).write_text("{}")
    for name in ("probe.json", "adapter_config.json"):  # of the start's weights
        (start / name).write_text("{}")
    (start / "additional_chat_templates").mkdir()
    (start / "additional_chat_templates" / "tool_use.jinja").write_text("{{ tools }}")
    says(start, temperature=0.9)  # transformers would refuse to save this
    edit(start / "config.json", lambda c: c.update(attention_dropout=0.1, use_cache=True))
    result = saved(start, tmp_path / "result")
    weights = (result / "model.safetensors").read_bytes()
    carry_over(start, result)
    (start / "probe.json").unlink(), (start / "adapter_config.json").unlink()
    ours, theirs = ({p.relative_to(f): p.read_bytes() for p in f.rglob("*") if p.is_file()} for f in (start, result))
    assert theirs == ours
    assert (result / "model.safetensors").read_bytes() == weights


def test_what_the_start_has_not_is_not_made_up(start: Path, tmp_path: Path):
    result = saved(start, tmp_path / "result")
    carry_over(start, result)
    assert not (result / "generation_config.json").exists()
    assert {p.name for p in result.iterdir()} == {p.name for p in start.iterdir()}


def test_only_the_precision_of_the_weights_may_differ(start: Path, tmp_path: Path):
    result = saved(start, tmp_path / "result")
    edit(start / "config.json", lambda c: c.update(dtype="bfloat16"))
    carry_over(start, result)
    ours, theirs = (json.loads((folder / "config.json").read_text()) for folder in (start, result))
    assert theirs == ours | {"dtype": "float32"}
    half = {k: v.astype(np.float16) for k, v in load_file(result / "model.safetensors").items()}
    save_file(half, result / "model.safetensors")
    carry_over(start, result)
    assert json.loads((result / "config.json").read_text())["dtype"] == "float16"


def test_defaults_that_no_engine_applies_are_named(start: Path):
    assert ignored_defaults(start) == {}
    says(start, eos_token_id=[2, 0], pad_token_id=0, do_sample=True, repetition_penalty=1.05, top_k=20, top_p=None)
    assert ignored_defaults(start) == {"repetition_penalty": 1.05, "top_k": 20}


def test_dropout_is_found_under_all_its_names():
    config = {"attention_dropout": 0.1, "resid_pdrop": 0.2, "layerdrop": 0, "text_config": {"hidden_dropout": 0.3}}
    expected = {"attention_dropout": 0.1, "resid_pdrop": 0.2, "text_config.hidden_dropout": 0.3}
    assert dropouts(config | {"use_dropout": True, "classifier_dropout": None}) == expected
