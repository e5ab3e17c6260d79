"""Word problems: answers that follow from the sentence, splits that share no sentence, one seed, one set."""

from __future__ import annotations

import re

import pytest

from reasoning_pipeline.data.config import DataConfig
from reasoning_pipeline.data.sources import load_problems
from reasoning_pipeline.data.word_problems import NAMES, SPLITS, TEMPLATES, THINGS, problems

LINE = re.compile(r"(\d+) ([-+*/]) (\d+) = (\d+)")


@pytest.mark.parametrize("split", SPLITS)
def test_each_line_of_a_solution_is_true_and_the_last_is_the_answer(split: str):
    found = problems(split, 300)  # type: ignore[arg-type]
    assert len({p.id for p in found}) == len({p.question for p in found}) == 300
    for problem in found:
        *lines, last = problem.meta["solution"].split("\n")
        numbers = [int(number) for number in re.findall(r"\d+", problem.question)]
        for line in lines:
            left, sign, right, result = LINE.fullmatch(line).groups()  # type: ignore[union-attr]
            assert eval(f"{left}{sign}{right}") == int(result) > 0, line
            assert {int(left), int(right)} <= {*numbers}, "a number comes from the question or an earlier line"
            numbers.append(int(result))
        assert last == f"\\boxed{{{result}}}" and problem.answer == result
        assert len(lines) == problem.meta["operations"]


def test_as_many_of_one_step_as_of_two_and_three_in_the_hard_ones():
    for split, steps in {"train": [1, 2], "validation": [1, 2], "test": [1, 2], "hard": [3, 3]}.items():
        assert [p.meta["operations"] for p in problems(split, 4)] == steps * 2  # type: ignore[arg-type]


def test_a_division_leaves_nothing_over():
    divided = [p for p in problems("train", 600) if "/" in p.meta["solution"]]
    assert len(divided) > 50


def test_no_sentence_stands_in_two_splits():
    def sentences(split: str) -> set[str]:
        """Questions without names, things and numbers."""
        swapped = "|".join((*NAMES, *THINGS, r"\d+"))
        return {re.sub(swapped, "_", p.question) for p in problems(split, 400)}  # type: ignore[arg-type]

    for one in SPLITS:
        for other in SPLITS:
            assert one == other or not sentences(one) & sentences(other)
    assert len({text for split in SPLITS for text, _ in TEMPLATES[split]}) == sum(map(len, TEMPLATES.values()))


def test_a_seed_gives_its_problems_and_the_tests_have_none():
    assert problems("train", 50, 1) == problems("train", 50, 1) != problems("train", 50, 2)
    assert problems("train", 50, 1) == problems("train", 80, 1)[:50]
    for split in ("test", "hard"):
        assert problems(split, 50, 1) == problems(split, 50, 2)  # type: ignore[arg-type]


def test_a_recipe_names_the_world(tmp_path):
    config = DataConfig(source="word_problems", count=20)
    assert load_problems(config, folder=tmp_path, seed=3) == problems("train", 20, 3)
    assert config.varies_with_seed and not config.model_copy(update={"split": "test"}).varies_with_seed
    with pytest.raises(ValueError, match="no split is called 'pool'"):
        DataConfig(source="word_problems", count=20, split="pool")
    with pytest.raises(ValueError, match="needs `count`"):
        DataConfig(source="word_problems")
    with pytest.raises(ValueError, match="at most 20,000"):
        DataConfig(source="word_problems", count=20_001)
