"""Loading leaves out what would bend a model: dropout, defaults of generation, weights made up at random."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from reasoning_pipeline.doctor import folders as doctor_folders
from reasoning_pipeline.errors import IncompatibleModels
from reasoning_pipeline.models.loading import load_encoder, load_model, load_tokenizer, pad_id
from reasoning_pipeline.plan.compatibility import check_models
from tests.bench import Bench
from tests.doctor.test_doctor import found, short, subject
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


def test_a_matrix_of_another_shape_is_named(folder: Path):
    edit(folder / "config.json", lambda c: c.update(num_key_value_heads=1))
    with pytest.raises(IncompatibleModels, match=r"k_proj\.weight is 64×32, by config\.json it is 32×32"):
        load_model(folder)


def test_an_encoder_needs_all_of_its_layers_and_no_pooler(tmp_path: Path):
    from safetensors.torch import load_file, save_file
    from transformers import BertConfig, BertModel

    sizes = {"hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2}
    BertModel(BertConfig(**sizes, vocab_size=10)).save_pretrained(tmp_path)
    path = tmp_path / "model.safetensors"
    tensors = {name: value for name, value in load_file(path).items() if not name.startswith("pooler.")}
    save_file(tensors, path, metadata={"format": "pt"})
    assert not load_encoder(tmp_path).training
    tensors.pop("encoder.layer.0.output.dense.weight")
    save_file(tensors, path, metadata={"format": "pt"})
    with pytest.raises(IncompatibleModels, match=r"1 weights are in no file, the first encoder\.layer\.0\.output"):
        load_encoder(tmp_path)


def test_of_a_family_that_no_plan_knows_a_run_asks_the_library(folder: Path, bench: Bench):
    from safetensors.torch import load_file, save_file
    from transformers import GPTNeoXConfig, GPTNeoXForCausalLM

    sizes = {"hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = GPTNeoXConfig(**sizes, vocab_size=112, max_position_embeddings=128, tie_word_embeddings=False)
    GPTNeoXForCausalLM(config).save_pretrained(folder)
    (folder / "generation_config.json").unlink()

    def change(recipe: dict[str, Any]) -> None:
        short(recipe)
        recipe["steps"]["teacher_rl"].update(policy=str(folder))

    check_models(bench.plan(change), whole=True)
    tensors = load_file(folder / "model.safetensors")
    tensors.pop("embed_out.weight")
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    check_models(bench.plan(change))  # which does without torch
    with pytest.raises(IncompatibleModels, match=r"1 weights are in no file, the first lm_head\.weight"):
        check_models(bench.plan(change), whole=True)
    (finding,) = found(doctor_folders.models, subject(bench, change))
    assert finding[0] == "error" and "1 weights are in no file" in finding[1]


def test_code_that_a_folder_brings_is_never_run(folder: Path, tmp_path: Path):
    ran = tmp_path / "ran"
    (folder / "own.py").write_text(f"open({str(ran)!r}, 'w')\nclass Own: pass\n")
    edit(
        folder / "config.json",
        lambda c: c.update(auto_map={"AutoModelForCausalLM": "own.Own", "AutoConfig": "own.Own"}),
    )
    edit(
        folder / "tokenizer_config.json",
        lambda t: t.update(auto_map={"AutoTokenizer": [None, "own.Own"]}, tokenizer_class="Own"),
    )
    load_model(folder)
    load_encoder(folder)
    assert load_tokenizer(folder)("7+8", add_special_tokens=False)["input_ids"] == [27, 15, 28]
    assert not ran.exists()


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
