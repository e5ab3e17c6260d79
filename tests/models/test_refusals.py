"""Models that no step could train are refused by the plan, in words, before a label is spent."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file

from reasoning_pipeline.__main__ import main
from reasoning_pipeline.doctor import folders as doctor_folders
from reasoning_pipeline.errors import IncompatibleModels
from reasoning_pipeline.models.refusals import check_model
from reasoning_pipeline.plan.compatibility import check_models
from tests.bench import Bench
from tests.doctor.test_doctor import found, short, subject
from tests.models.folders import copied, edit, with_tensors


@pytest.fixture
def folder(tmp_path: Path, tiny_model: Path) -> Path:
    return copied(tiny_model, tmp_path / "model")


def config(**settings: Any) -> Callable[[Path], object]:
    return lambda folder: edit(folder / "config.json", lambda values: values.update(settings))


def tokens(folder: Path) -> None:
    added = {"id": 112, "content": "<x>", "special": True}
    edit(folder / "tokenizer.json", lambda t: t["added_tokens"].append({**t["added_tokens"][0], **added}))


def own_head(folder: Path) -> None:
    with_tensors(folder, head=load_file(folder / "model.safetensors")["model.embed_tokens.weight"] + 1)


CASES: dict[str, tuple[Callable[[Path], object], str]] = {
    "experts": (config(num_experts=4), "a mixture of experts (num_experts: 4), which this version does not train"),
    "experts inside": (config(text_config={"num_local_experts": 8}), "a mixture of experts (num_local_experts: 8)"),
    "code": (config(auto_map={"AutoModelForCausalLM": "x.Y"}, model_type="own"), "needs code of its own (auto_map in"),
    "quantized": (config(quantization_config={"quant_method": "gptq"}), "quantized weights (gptq)"),
    "tied with a head of its own": (own_head, "tie_word_embeddings is true, but the weights have a lm_head.weight"),
    "untied without a head": (config(tie_word_embeddings=False), "is false, but there is no lm_head.weight"),
    "tokens beyond the embedding": (tokens, "token '<x>' has id 112, the embedding has 112 rows"),
    "another width": (config(vocab_size=128), "vocab_size is 128, the embedding has 112 rows"),
    "no JSON": (lambda folder: (folder / "generation_config.json").write_text("[1"), "unreadable JSON"),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_a_model_that_would_fail_later_is_refused(case: str, folder: Path):
    check_model(folder)
    change, sentence = CASES[case]
    change(folder)
    with pytest.raises(IncompatibleModels) as error:
        check_model(folder)
    assert sentence in error.value.message and error.value.remedy and error.value.exit_status == 2


def test_what_only_looks_unusual_is_not_refused(folder: Path):
    embedding = load_file(folder / "model.safetensors")["model.embed_tokens.weight"]
    with_tensors(folder, head=embedding)  # written twice, and equal: one matrix
    check_model(folder)
    config(tie_word_embeddings=False)(folder)
    check_model(with_tensors(folder, head=np.flip(embedding).copy()))
    config(auto_map={"AutoModelForCausalLM": "x.Y"}, num_experts=0)(folder)  # qwen3 is known without that code
    check_model(folder)


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
    with pytest.raises(IncompatibleModels, match=r"distill may write rows of .* tokens, student_base has 64 positions"):
        check_models(bench.plan(lambda r: r["steps"]["student_base"].update(architecture={"max_positions": 64})))


def test_weights_that_are_no_numbers_are_found_by_doctor(bench: Bench, folder: Path):
    broken = load_file(folder / "model.safetensors")["model.embed_tokens.weight"].copy()
    broken[0, 0] = np.nan
    with_tensors(folder, embedding=broken)
    (finding,) = found(doctor_folders.models, subject(bench, outside(bench, folder)))
    assert finding[0] == "error" and "model.embed_tokens.weight holds a NaN or an infinity" in finding[1]


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
