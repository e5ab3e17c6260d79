"""Two models that do not speak token for token the same are refused before any training, with the first difference."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from reasoning_pipeline.data.config import PromptConfig
from reasoning_pipeline.data.tokenizer_making import save_character_tokenizer
from reasoning_pipeline.errors import IncompatibleModels
from reasoning_pipeline.models.compatible import check_compatible
from reasoning_pipeline.plan.compatibility import check_distillations
from reasoning_pipeline.plan.graph import Plan
from tests.bench import Bench, made_up_weights, write_files


def model(folder: Path, *, vocab_size: int = 112, text_config: bool = False) -> Path:
    """A model folder as far as it matters here: tokenizer, template, width; weights only by name."""
    save_character_tokenizer(folder)
    width = {"model_type": "qwen3", "vocab_size": vocab_size}
    (folder / "config.json").write_text(json.dumps({"text_config": width} if text_config else width))
    write_files(folder, {"model.safetensors": made_up_weights()})
    return folder


def edit(path: Path, change: Callable[[Any], object]) -> None:
    values = json.loads(path.read_text(encoding="utf-8"))
    change(values)
    path.write_text(json.dumps(values), encoding="utf-8")


@pytest.fixture
def student(tmp_path: Path) -> Path:
    return model(tmp_path / "student")


@pytest.fixture
def teacher(tmp_path: Path) -> Path:
    return model(tmp_path / "teacher")


def difference(student: Path, teacher: Path) -> str:
    with pytest.raises(IncompatibleModels) as error:
        check_compatible(student, teacher, PromptConfig())
    start = "student (student) and teacher (teacher) cannot share a distillation: "
    assert error.value.message.startswith(start) and error.value.exit_status == 2 and error.value.remedy
    return error.value.message.removeprefix(start)


def test_the_same_tokenizer_is_compatible(student: Path, tmp_path: Path):
    check_compatible(student, model(tmp_path / "teacher", text_config=True), PromptConfig())


def test_another_width(student: Path, tmp_path: Path):
    wide = model(tmp_path / "teacher", vocab_size=128)
    assert difference(student, wide) == "vocab_size: 112 in the student, 128 in the teacher"


def test_two_tokens_that_change_places(student: Path, teacher: Path):
    # the width is the same, so a trainer that compares widths would go on
    def swap(values: dict) -> None:
        vocabulary = values["model"]["vocab"]
        vocabulary["7"], vocabulary["8"] = vocabulary["8"], vocabulary["7"]

    seven = json.loads((student / "tokenizer.json").read_text())["model"]["vocab"]["7"]
    edit(teacher / "tokenizer.json", swap)
    assert difference(student, teacher) == f"token '7': {seven} in the student, {seven + 1} in the teacher"


def test_a_token_only_one_of_them_has(student: Path, teacher: Path):
    edit(teacher / "tokenizer.json", lambda t: t["model"]["vocab"].update({"é": 99}))
    assert difference(student, teacher) == "token 'é': 'absent' in the student, 99 in the teacher"
    with pytest.raises(IncompatibleModels, match="token 'é': 99 in the student, 'absent' in the teacher"):
        check_compatible(teacher, student, PromptConfig())


def test_a_token_that_is_special_on_one_side(student: Path, teacher: Path):
    edit(teacher / "tokenizer.json", lambda t: t["added_tokens"][2].update(special=False))
    assert difference(student, teacher).startswith("special tokens: ")


def test_another_end_token(student: Path, teacher: Path):
    edit(teacher / "tokenizer_config.json", lambda t: t.update(eos_token="<|endoftext|>"))
    assert difference(student, teacher) == "end tokens: [2] in the student, [0] in the teacher"


def test_a_further_end_token_of_the_generation_settings(student: Path, teacher: Path):
    (teacher / "generation_config.json").write_text('{"eos_token_id": [2, 0]}')
    assert difference(student, teacher) == "end tokens: [2] in the student, [0, 2] in the teacher"


def test_another_chat_template(student: Path, teacher: Path):
    (teacher / "chat_template.jinja").write_text("Q: {{ messages[-1]['content'] }}\nA:")
    found = difference(student, teacher)
    assert found.startswith("chat template, rendered for 'What is 1+1?': '<|im_start|>What is 1+1? ")
    assert found.endswith("'Q: What is 1+1?\\nA:' in the teacher")


def test_a_template_that_only_seems_the_same(student: Path, teacher: Path):
    template = teacher / "chat_template.jinja"
    template.write_text(template.read_text() + "{# other #}")
    assert difference(student, teacher).startswith("chat template: the sources differ")


# --- a whole recipe, before anything runs ----------------------------------------------------------------------------


def refused(plan: Plan) -> str:
    with pytest.raises(IncompatibleModels) as error:
        check_distillations(plan)
    return str(error.value)


def test_two_base_models_made_alike_may_meet(bench: Bench):
    check_distillations(bench.plan())


@pytest.mark.parametrize(
    "done", [[], ["student_base"], ["teacher_base"], ["teacher_base", "student_base", "teacher_rl"]]
)
def test_base_models_with_other_vocabularies_are_refused_however_far_the_run_is(bench: Bench, done: list[str]):
    change = ("steps.student_base.vocabulary_size=128",)
    bench.publish(bench.plan(overrides=change), *done) if done else None
    text = refused(bench.plan(overrides=change))
    assert text.startswith(
        "steps.warmup: student and teacher cannot share a distillation: their base models differ in vocabulary_size: "
        "128 in the student, 112 in the teacher"
    )
    assert "give the steps that make them the same" in text


def test_base_models_of_other_texts_are_refused(bench: Bench):
    assert "differ in corpus: 'prompts' in the student, 'arithmetic' in the teacher" in refused(
        bench.plan(overrides=("steps.student_base.corpus=prompts", "steps.student_base.data=problems"))
    )


def test_models_from_outside_are_compared_before_the_teacher_learns(bench: Bench):
    model(bench.folder / "small"), model(bench.folder / "large")

    def outside(recipe: dict) -> None:
        recipe["steps"]["teacher_rl"]["policy"] = "large"
        recipe["steps"]["warmup"]["policy"] = "small"

    check_distillations(bench.plan(outside))
    edit(bench.folder / "large" / "tokenizer_config.json", lambda t: t.update(eos_token="<|endoftext|>"))
    assert refused(bench.plan(outside)).startswith(
        "small (student) and large (teacher) cannot share a distillation: end tokens: [2] in the student, [0]"
    )


def test_a_model_still_on_the_hub_is_compared_later(bench: Bench):
    check_distillations(bench.plan(lambda r: r["steps"]["warmup"].update(policy="Qwen/Qwen3-1.7B")))
