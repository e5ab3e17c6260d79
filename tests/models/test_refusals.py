"""Models that no step could train are refused by the plan, in words, before a label is spent."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from reasoning_pipeline.__main__ import main
from reasoning_pipeline.doctor import folders as doctor_folders
from reasoning_pipeline.errors import IncompatibleModels, PipelineError
from reasoning_pipeline.models import belonging
from reasoning_pipeline.models import outside as outside_module
from reasoning_pipeline.models.refusals import check_model
from reasoning_pipeline.plan.compatibility import check_models
from tests.bench import Bench
from tests.doctor.test_doctor import found, short, subject
from tests.models.folders import copied, edit, sharded, with_tensors


@pytest.fixture
def folder(tmp_path: Path, tiny_model: Path) -> Path:
    return copied(tiny_model, tmp_path / "model")


def config(**settings: Any) -> Callable[[Path], object]:
    return lambda folder: edit(folder / "config.json", lambda values: values.update(settings))


def written(name: str, text: str) -> Callable[[Path], object]:
    return lambda folder: (folder / name).write_text(text)


def tokens(folder: Path) -> None:
    added = {"id": 112, "content": "<x>", "special": True}
    edit(folder / "tokenizer.json", lambda t: t["added_tokens"].append({**t["added_tokens"][0], **added}))


def an_expert(folder: Path) -> None:
    tensors = load_file(folder / "model.safetensors")
    tensors["model.layers.0.mlp.experts.0.up_proj.weight"] = tensors["model.layers.0.mlp.up_proj.weight"]
    save_file(tensors, folder / "model.safetensors")


def changed(change: Callable[[dict[str, Any]], object]) -> Callable[[Path], object]:
    """With other tensors than the model has."""

    def apply(folder: Path) -> None:
        tensors = load_file(folder / "model.safetensors")
        change(tensors)
        save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})

    return apply


def without(*endings: str) -> Callable[[Path], object]:
    return changed(lambda tensors: [tensors.pop(name) for name in list(tensors) if name.endswith(endings)])


def renamed(name: Callable[[str], str]) -> Callable[[Path], object]:
    return changed(lambda tensors: [tensors.update({name(old): tensors.pop(old)}) for old in list(tensors)])


def padded_with_another(folder: Path) -> None:
    edit(folder / "tokenizer_config.json", lambda t: t.update(pad_token="<pad>"))
    tokenizer = json.loads((folder / "tokenizer.json").read_text())
    rows = 1 + max(*tokenizer["model"]["vocab"].values(), *(t["id"] for t in tokenizer["added_tokens"]))
    config(vocab_size=rows)(folder)  # as many rows as tokens
    with_tensors(folder, embedding=load_file(folder / "model.safetensors")["model.embed_tokens.weight"][:rows])


def beside(name: str) -> Callable[[Path], object]:
    return lambda folder: shutil.copyfile(folder / "model.safetensors", folder / name)


def an_index(folder: Path) -> None:
    whole = (folder / "model.safetensors").read_bytes()
    sharded(folder)
    (folder / "model.safetensors").write_bytes(whole)


def says_nothing_of_its_head(folder: Path) -> None:
    edit(folder / "config.json", lambda values: values.pop("tie_word_embeddings"))


def in_eight_bits(tensors: dict[str, Any]) -> None:
    tensors |= {name: value.astype(np.int8) for name, value in tensors.items() if name.endswith("proj.weight")}


def own_head(folder: Path) -> None:
    with_tensors(folder, head=load_file(folder / "model.safetensors")["model.embed_tokens.weight"] + 1)


CASES: dict[str, tuple[Callable[[Path], object], str]] = {
    "experts": (config(num_experts=4), "a mixture of experts (num_experts: 4), which this version does not train"),
    "experts inside": (config(text_config={"num_local_experts": 8}), "a mixture of experts (num_local_experts: 8)"),
    "experts by no known key": (an_expert, "a mixture of experts (model.layers.0.mlp.experts.0.up_proj.weight)"),
    "code": (config(auto_map={"AutoModelForCausalLM": "x.Y"}, model_type="own"), "needs code of its own (auto_map in"),
    "quantized": (config(quantization_config={"quant_method": "gptq"}), "quantized weights (gptq)"),
    "tied with a head of its own": (own_head, "tie_word_embeddings is true, but the weights have a lm_head.weight"),
    "untied without a head": (config(tie_word_embeddings=False), "is false, but there is no lm_head.weight"),
    "untied by default": (says_nothing_of_its_head, "is not in config.json, so it is false, but there is no lm_head"),
    "no last norm": (without("model.norm.weight"), "1 of 25 weights are in no file, the first model.norm.weight"),
    "a norm of one layer": (without("1.self_attn.q_norm.weight"), "the first model.layers.1.self_attn.q_norm.weight"),
    "norms of all layers": (without("q_norm.weight", "k_norm.weight"), "4 of 25 weights are in no file"),
    "a matrix": (without("0.self_attn.k_proj.weight"), "1 of 25 weights are in no file, the first model.layers.0"),
    "no embedding": (without("embed_tokens.weight"), "weights are in no file, the first model.embed_tokens"),
    "biases": (config(attention_bias=True), "8 of 33 weights are in no file, the first model.layers.0.self_attn"),
    "a wrapper's names": (renamed(lambda n: f"module.{n}"), "in their place there is module.model.embed_tokens.weight"),
    "without its head": (renamed(lambda n: n.removeprefix("model.")), "the weights of a model without its head ("),
    "a value head": (changed(lambda t: t.update({"v_head.bias": np.ones(1)})), "no place for, the first v_head.bias"),
    "fewer keys": (config(num_key_value_heads=1), "self_attn.k_proj.weight is 64×32, by config.json it is 32×32"),
    "narrower heads": (config(head_dim=16), "self_attn.q_proj.weight is 64×32, by config.json it is 32×32"),
    "another feed-forward": (config(intermediate_size=128), "gate_proj.weight is 64×32, by config.json it is 128×32"),
    "eight bits": (changed(in_eight_bits), "quantized weights (model.layers.0.mlp.down_proj.weight in I8)"),
    "scales": (changed(lambda t: t.update({"model.layers.0.mlp.up_proj.weight_scale": np.ones(1)})), "weight_scale"),
    "quantized elsewhere": (config(compression_config={"quant_method": "x"}), "quantized weights (x)"),
    "a file says quantized": (written("hf_quant_config.json", "{}"), "quantized weights (hf_quant_config.json)"),
    "frequencies": (config(rope_scaling={"rope_type": "yarn", "factor": 4.0}), "yarn without original_max"),
    "another class": (config(architectures=["LlamaForCausalLM"]), "names LlamaForCausalLM, model_type 'qwen3': a"),
    "a file beside": (beside("ema.safetensors"), "two sets of weights, model.safetensors and ema.safetensors: trainer"),
    "an index beside": (an_index, "two sets of weights, model.safetensors and model.safetensors.index.json, which nam"),
    "tokens beyond the embedding": (tokens, "token '<x>' has id 112, the embedding has 112 rows"),
    "padding beyond": (padded_with_another, "pad_token '<pad>' is no token of tokenizer.json: it would get the id 99"),
    "another width": (config(vocab_size=128), "vocab_size is 128, the embedding has 112 rows"),
    "fewer layers": (config(num_hidden_layers=3), "num_hidden_layers is 3, the weights have 2 layers"),
    "more layers": (config(num_hidden_layers=1), "num_hidden_layers is 1, the weights have 2 layers"),
    "another size": (config(hidden_size=64), "hidden_size is 64, the embedding has vectors of 32"),
    "an adapter, too": (written("adapter_config.json", "{}"), "adapter_config.json beside whole weights"),
    "a state": (config(layer_types=["linear_attention", "full_attention"]), "carry state along the text (linear_att"),
    "mamba": (config(model_type="mamba", state_size=16), "layers that carry state along the text (state_size)"),
    "capped scores": (config(attn_logit_softcapping=50.0), "attention scores are capped (attn_logit_softcapping 50.0)"),
    "of no known type": (config(model_type="own"), "model_type 'own' of config.json is none that transformers knows"),
    "an end in words": (written("generation_config.json", '{"eos_token_id": "2"}'), "is '2'"),
    "no end": (written("generation_config.json", '{"eos_token_id": [2, null]}'), "is [2, None]"),
    "no end of brackets": (written("tokenizer.json", "[" * 100_000), "unreadable JSON in tokenizer.json"),
    "no JSON": (written("generation_config.json", "[1"), "unreadable JSON in generation_config.json"),
    "no tokenizer's JSON": (written("tokenizer_config.json", "{"), "unreadable JSON in tokenizer_config.json"),
}  # fmt: skip

MUTE: dict[str, tuple[Callable[[Path], object], str]] = {
    "a classifier": (config(architectures=["Qwen3ForSequenceClassification"]), "is no decoder that writes text"),
    "an encoder, too": (config(is_encoder_decoder=True), "is no decoder that writes text"),
    "no tokenizer": (lambda folder: (folder / "tokenizer.json").unlink(), "no tokenizer.json"),
    "no end token": (lambda folder: (folder / "tokenizer_config.json").unlink(), "no end token"),
    "no template": (written("chat_template.jinja", ""), "the tokenizer has no chat template"),
    "a template that refuses": (written("chat_template.jinja", "{{ raise_exception('no') }}"), "cannot be used: no"),
}


@pytest.mark.parametrize("case", CASES)
def test_a_model_that_would_fail_later_is_refused(case: str, folder: Path):
    check_model(folder)
    change, sentence = CASES[case]
    change(folder)
    with pytest.raises(IncompatibleModels) as error:
        check_model(folder)
    assert sentence in error.value.message and error.value.remedy and error.value.exit_status == 2


@pytest.mark.parametrize("case", MUTE)
def test_a_student_that_cannot_be_spoken_to_is_refused_before_its_teacher_learns(case: str, bench: Bench, folder: Path):
    change = outside(bench, folder)
    check_models(bench.plan(change))
    spoil, sentence = MUTE[case]
    spoil(folder)
    with pytest.raises(PipelineError) as error:
        check_models(bench.plan(change))
    assert sentence in error.value.message and error.value.remedy and error.value.exit_status == 2


def test_what_only_looks_unusual_is_not_refused(folder: Path):
    embedding = load_file(folder / "model.safetensors")["model.embed_tokens.weight"]
    with_tensors(folder, head=embedding)  # written twice, and equal: one matrix
    check_model(folder)
    config(tie_word_embeddings=False)(folder)
    check_model(with_tensors(folder, head=np.flip(embedding).copy()))
    config(auto_map={"AutoModelForCausalLM": "x.Y"}, num_experts=0)(folder)  # qwen3 is known without that code
    check_model(folder)
    changed(lambda t: t.update({"model.layers.0.self_attn.rotary_emb.inv_freq": np.ones(16)}))(folder)  # of old ones
    check_model(folder)
    index = {"metadata": {}, "weight_map": dict.fromkeys(load_file(folder / "model.safetensors"), "model.safetensors")}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    beside("consolidated.safetensors")(folder)  # Mistral's own; the index leaves it out
    check_model(folder)
    config(num_nextn_predict_layers=1, num_hidden_layers=1)(folder)  # layers that predict more tokens at once
    check_model(folder)


def test_an_embedder_needs_no_head_and_keeps_bare_names(folder: Path):
    says_nothing_of_its_head(folder)
    check_model(folder, writes=False)
    renamed(lambda name: name.removeprefix("model."))(folder)
    check_model(folder, writes=False)
    without("layers.1.mlp.up_proj.weight")(folder)
    with pytest.raises(IncompatibleModels, match=r"1 of 25 weights are in no file, the first layers\.1\.mlp\.up_proj"):
        check_model(folder, writes=False)


def test_floats_of_eight_bits_are_told_by_their_header(tmp_path: Path):
    # {"w.weight": F8_E4M3}: one byte a number, which loading would take for the number itself
    found = {"w.weight": {"dtype": "F8_E4M3", "shape": [4], "data_offsets": [0, 4]}}
    assert belonging.quantization(tmp_path, {}, found) == (
        "quantized weights (w.weight in F8_E4M3), which cannot be trained",
        "take the model in bfloat16 or float32; a conversion of it is dequantized by the tool that made it",
    )
    packed = {"experts.down": {"dtype": "F8_E5M2"}}  # a weight by no ending
    assert belonging.quantization(tmp_path, {}, packed) is not None
    tables = {"position_ids": {"dtype": "I64"}, "attn.bias": {"dtype": "U8"}}
    assert belonging.quantization(tmp_path, {}, tables) is None
    found["w.weight"]["dtype"] = "BF16"
    assert belonging.quantization(tmp_path, {}, found | {"n.weight": {"dtype": "F32"}}) is None, "as many are published"


def outside(bench: Bench, folder: Path) -> Callable[[dict[str, Any]], None]:
    def change(recipe: dict[str, Any]) -> None:
        short(recipe)
        recipe["steps"]["teacher_rl"].update(policy=str(folder))

    return change


def test_plan_run_and_doctor_refuse_a_mixture_of_experts(
    bench: Bench, folder: Path, capsys: pytest.CaptureFixture[str]
):
    path = bench.changed(outside(bench, folder))
    arguments = [str(path), "--root", str(bench.root)]
    assert main(["plan", *arguments]) == 0
    config(num_experts=4)(folder)
    for command in ("plan", "run"):
        assert main([command, *arguments]) == 2
        assert "a mixture of experts" in capsys.readouterr().err
    assert not (bench.root / "registry").exists()
    (finding,) = found(doctor_folders.models, subject(bench, outside(bench, folder)))
    assert finding[0] == "error" and "a mixture of experts" in finding[1]


def test_rows_beyond_the_models_positions_are_refused_before_training(bench: Bench, folder: Path):
    change = outside(bench, folder)
    check_models(bench.plan(change))
    with pytest.raises(IncompatibleModels, match=r"teacher_rl may write rows of 129 tokens, model has 128 positions"):
        check_models(bench.plan(change, lambda r: r["steps"]["teacher_rl"].update(max_completion_tokens=97)))


def test_rows_beyond_a_model_that_a_step_makes_are_refused_too(bench: Bench):
    check_models(bench.plan())
    with pytest.raises(IncompatibleModels, match=r"warmup may read rows of .* tokens, student_base has 64 positions"):
        check_models(bench.plan(lambda r: r["steps"]["student_base"].update(architecture={"max_positions": 64})))


def test_weights_that_are_no_numbers_are_found_before_training_and_read_once(
    bench: Bench, folder: Path, monkeypatch: pytest.MonkeyPatch
):
    change = outside(bench, folder)
    os.utime(folder / "model.safetensors", (1, 1))
    monkeypatch.setattr(outside_module, "SETTLED_SECONDS", -1.0)  # its inode has just changed
    check_models(bench.plan(change))
    with monkeypatch.context() as patch:
        patch.setattr(outside_module, "not_finite", lambda path: pytest.fail("read once more"))
        check_models(bench.plan(change))
    broken = load_file(folder / "model.safetensors")["model.embed_tokens.weight"].copy()
    broken[0, 0] = np.nan
    with_tensors(folder, embedding=broken)
    with pytest.raises(IncompatibleModels, match=r"model.embed_tokens.weight holds a NaN or an infinity"):
        check_models(bench.plan(change))
    (finding,) = found(doctor_folders.models, subject(bench, change))
    assert finding[0] == "error" and "model.embed_tokens.weight holds a NaN or an infinity" in finding[1]
    monkeypatch.setattr(outside_module, "READ_BYTES", 1)
    check_models(bench.plan(change))  # a plan waits for no large model to be read
    with pytest.raises(IncompatibleModels, match="holds a NaN"):
        check_models(bench.plan(change), whole=True)  # a run does


def test_doctor_tells_what_of_a_folder_is_not_heeded(bench: Bench, folder: Path):
    check, change = doctor_folders.descriptions, outside(bench, folder)
    assert found(check, subject(bench, change)) == [("ok", "no model asks for anything that is ignored here")]
    settings = {"eos_token_id": 2, "repetition_penalty": 1.05, "temperature": 0.7, "do_sample": True}
    (folder / "generation_config.json").write_text(json.dumps(settings))
    config(attention_dropout=0.1, eos_token_id=0)(folder)
    edit(folder / "tokenizer_config.json", lambda t: t.update(pad_token=None, model_max_length=40))
    (folder / "chat_template.jinja").write_text("{{ strftime_now('%d %b %Y') }} {{ messages[-1]['content'] }}")
    told = [message for _, message in found(check, subject(bench, change))]
    assert [message.removeprefix("model: ") for message in told] == [
        "of generation_config.json only end tokens count; ignored: repetition_penalty 1.05, temperature 0.7",
        "dropout is switched off while training (attention_dropout 0.1); what is published keeps the setting",
        "no pad token; rows are filled with the one that config.json names, else with the end token",
        "model_max_length 40 of the tokenizer is shorter than rows of this recipe; nothing is cut there",
        "the chat template asks for today's date and is always told 26 Jul 2024",
        "config.json names [0] as end tokens, completions end at [2] (the tokenizer's, and those of "
        "generation_config.json: [2])",
    ]
