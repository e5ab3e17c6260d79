"""Loading leaves out what would bend a model: dropout, defaults of generation, weights made up at random."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from reasoning_pipeline.errors import IncompatibleModels
from reasoning_pipeline.models.loading import load_model, load_tokenizer, pad_id
from tests.models.folders import copied, edit, says

pytestmark = pytest.mark.slow


@pytest.fixture
def folder(tmp_path: Path, tiny_model: Path) -> Path:
    return copied(tiny_model, tmp_path / "model")


def test_a_model_in_training_says_the_same_twice(folder: Path):
    import torch

    edit(folder / "config.json", lambda c: c.update(attention_dropout=0.5))
    model = load_model(folder).train()
    ids = torch.arange(5, 25)[None]
    torch.testing.assert_close(model(ids).logits, model(ids).logits, rtol=0, atol=0)
    assert model.config.attention_dropout == 0


def test_defaults_of_generation_stay_in_the_folder(folder: Path, tmp_path: Path):
    says(folder, eos_token_id=[2, 0], temperature=0.9, top_p=0.6, repetition_penalty=1.5)
    edit(folder / "config.json", lambda c: c.update(repetition_penalty=1.2))  # where old models have it
    model = load_model(folder)
    assert model.generation_config.repetition_penalty is None and model.generation_config.temperature is None
    assert model.generation_config.eos_token_id == [2, 0], "the trainer's count of truncated rollouts needs them"
    model.save_pretrained(tmp_path / "saved")  # as a resume point does


def test_end_tokens_are_not_taken_from_the_configuration(folder: Path):
    edit(folder / "config.json", lambda c: c.update(eos_token_id=0))
    assert load_model(folder).generation_config.eos_token_id is None


def test_a_weight_that_is_in_no_file_is_not_made_up(folder: Path):
    edit(folder / "config.json", lambda c: c.update(num_hidden_layers=3, layer_types=["full_attention"] * 3))
    with pytest.raises(IncompatibleModels, match=r"11 weights are in no file, the first model\.layers\.2\."):
        load_model(folder)


@pytest.mark.parametrize(
    ("config", "generation", "expected"),
    [
        ({}, {}, 2),  # the end token, as Llama 3 wants it
        ({"pad_token_id": 1}, {"pad_token_id": 0}, 1),
        ({"pad_token_id": -1}, {"pad_token_id": 0}, 0),  # -1 and ids beyond the vocabulary are no tokens
        ({"pad_token_id": 5000}, {}, 2),
    ],
)
def test_one_rule_for_padding(folder: Path, config: dict, generation: dict, expected: int):
    assert pad_id(folder) == 0, "the tokenizer's own goes before all others"
    edit(folder / "tokenizer_config.json", lambda t: t.pop("pad_token"))
    edit(folder / "config.json", lambda c: (c.pop("pad_token_id"), c.update(config)))
    (folder / "generation_config.json").write_text(json.dumps(generation))
    assert pad_id(folder) == load_tokenizer(folder).pad_token_id == expected
