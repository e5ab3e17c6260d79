"""A checkpoint of ours in the loaders of other people's harnesses: the same prompt and the same greedy answer.

Neither harness is among our requirements (lighteval pins another latex2sympy2_extended than math-verify needs), so each
test is for an environment that has it.
"""

from __future__ import annotations

from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

QUESTION = "3+5*2"
TOKENS = 8


def in_transformers(folder: Path) -> tuple[str, str]:
    """(rendered prompt, greedy completion)."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    messages = [{"role": "user", "content": QUESTION}]
    prompt = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    inputs = tokenizer(prompt, return_tensors="pt", add_special_tokens=False)
    written = AutoModelForCausalLM.from_pretrained(folder).generate(**inputs, max_new_tokens=TOKENS, do_sample=False)
    return prompt, tokenizer.decode(written[0, inputs["input_ids"].shape[1] :], skip_special_tokens=True)


def test_lm_evaluation_harness_loads_it(tiny_model: Path) -> None:
    huggingface = pytest.importorskip("lm_eval.models.huggingface", exc_type=ImportError)
    from lm_eval.api.instance import Instance

    prompt, answer = in_transformers(tiny_model)
    loaded = huggingface.HFLM(pretrained=str(tiny_model), device="cpu", dtype="float32", batch_size=1)
    assert loaded.apply_chat_template([{"role": "user", "content": QUESTION}]) == prompt
    settings = {"until": [], "max_gen_toks": TOKENS, "do_sample": False}
    assert loaded.generate_until([Instance("generate_until", {}, (prompt, settings), 0)]) == [answer]


def test_lighteval_loads_it(tiny_model: Path) -> None:
    transformers_model = pytest.importorskip("lighteval.models.transformers.transformers_model", exc_type=ImportError)
    from lighteval.tasks.requests import Doc

    _, answer = in_transformers(tiny_model)
    config = transformers_model.TransformersModelConfig(
        model_name=str(tiny_model), dtype="float32", batch_size=1, max_length=64
    )
    loaded = transformers_model.TransformersModel(config)
    asked = Doc(query=QUESTION, choices=[""], gold_index=0, generation_size=TOKENS, stop_sequences=[], num_samples=1)
    assert loaded.greedy_until([asked])[0].text == [answer]
