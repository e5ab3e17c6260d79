"""The arithmetic world: left to right, modulo 10; tests that training never sees; one seed, one set of problems."""

from __future__ import annotations

import hashlib
from collections import Counter
from itertools import islice, pairwise

import pytest

from reasoning_pipeline.data.arithmetic import LONGEST_EXPRESSION, SPLITS, corpus, problems, running_results, solution


@pytest.mark.parametrize(
    ("expression", "results"),
    [
        ("3+5*2", [8, 6]),  # 8, then 8*2 = 16 -> 6; no precedence (3+10 = 13 would be 3)
        ("3-5", [8]),  # -2 modulo 10
        ("0-1*5+3-4", [9, 5, 8, 4]),  # 9, 45 -> 5, 8, 4
        ("9*5*5*5*5+5", [5, 5, 5, 5, 0]),
    ],
)
def test_by_hand(expression: str, results: list[int]):
    assert running_results(expression) == results


def test_a_solution_writes_each_result_and_boxes_the_last():
    assert solution("3+5*2") == "8;6;\\boxed{6}"
    assert solution("3+5*2", [7, 4]) == "7;4;\\boxed{4}"


@pytest.mark.parametrize("split", SPLITS)
def test_problems_are_what_the_split_promises(split: str):
    found = problems(split, 200)  # type: ignore[arg-type]
    assert len({p.id for p in found}) == len({p.question for p in found}) == 200
    operations = Counter(len(p.question) // 2 for p in found)
    assert operations == ({6: 200} if split == "hard" else {4: 100, 5: 100})
    for problem in found:
        assert problem.answer == str(running_results(problem.question)[-1])
        assert problem.id == f"arithmetic/{problem.question}"
        assert problem.meta == {"operations": len(problem.question) // 2}
        assert len(problem.question) <= LONGEST_EXPRESSION
        assert set(problem.question[1::2]) <= set("+-*") and set(problem.question[2::2]) <= set("12345")


def test_splits_never_meet_whatever_the_seed():
    parts = {split: {p.question for seed in (0, 1) for p in problems(split, 800, seed)} for split in SPLITS}  # type: ignore[arg-type]
    for one in SPLITS:
        for other in SPLITS:
            assert one == other or not parts[one] & parts[other]


def test_a_seed_gives_its_problems_and_the_tests_have_none():
    assert problems("pool", 50, 1) == problems("pool", 50, 1) != problems("pool", 50, 2)
    assert problems("pool", 50, 1) == problems("pool", 80, 1)[:50]  # more is more of the same
    for split in ("test", "hard"):
        assert problems(split, 50, 1) == problems(split, 50, 2)  # type: ignore[arg-type]


def test_these_problems_are_pinned():
    # scores of one version are compared with those of the next
    assert [p.question for p in problems("test", 3)] == ["8-3-1-3*1", "4*4*4-1+2-4", "5+1+5+5-3"]
    assert [p.question for p in problems("pool", 3)] == ["6+1+2+4-4", "5+1+2+3-3-1", "1*1+2+5+1"]


@pytest.mark.parametrize("noisy", [False, True])
def test_the_corpus_never_holds_a_test(noisy: bool):
    # the tests are those expressions of four and more operations whose hash falls into one bucket of eight
    def bucket(expression: str) -> int:
        return hashlib.sha256(expression.encode()).digest()[0] % 8

    tests = {p.question for split in ("test", "hard") for p in problems(split, 500)}  # type: ignore[arg-type]
    assert {bucket(question) for question in tests} == {0}
    texts = [expression for expression, _ in islice(corpus(0, noisy=noisy), 12_000)]
    long = [expression for expression in texts if len(expression) >= 2 * 4 + 1]
    assert len(long) > 4000 and {bucket(expression) for expression in long} == {1, 2, 3, 4, 5, 6, 7}
    assert not tests & set(texts)


def test_the_corpus_has_the_declared_mixture_of_lengths():
    # tests are left out of the longer ones: an eighth of 4, 5 and 6 operations (0.40 of all) is drawn again
    counts = Counter(len(expression) // 2 for expression, _ in islice(corpus(3, noisy=False), 20_000))
    kept = {1: 0.15, 2: 0.20, 3: 0.25, 4: 0.20 * 7 / 8, 5: 0.15 * 7 / 8, 6: 0.05 * 7 / 8}
    for operations, share in kept.items():
        # four standard errors of a share at 20,000 draws are at most 0.013
        assert counts[operations] / 20_000 == pytest.approx(share / sum(kept.values()), abs=0.013)


def test_clean_solutions_are_right_and_noisy_ones_wrong_as_often_as_promised():
    for expression, text in islice(corpus(1, noisy=False), 500):
        assert text == solution(expression)
    # one result: kept clean with 0.15, else replaced with 0.3 by a digit that is wrong nine times in ten
    single = [(e, t) for e, t in islice(corpus(1, noisy=True), 40_000) if len(e) == 3]
    wrong = sum(text != solution(expression) for expression, text in single) / len(single)
    assert len(single) > 5000 and wrong == pytest.approx(0.85 * 0.3 * 0.9, abs=0.025)


def test_noise_goes_on_from_the_wrong_result():
    # a slip changes what follows: in a noisy chain most steps still follow from the result before them
    followed = total = 0
    for expression, text in islice(corpus(2, noisy=True), 2000):
        results = [int(part) for part in text.split("\\")[0].split(";")[:-1]]
        assert text == solution(expression, results) and len(results) == len(expression) // 2
        for place, (before, after) in enumerate(pairwise(results)):
            operation = expression[3 + 2 * place : 5 + 2 * place]
            followed += running_results(f"{before}{operation}")[0] == after
            total += 1
    # 0.15 clean + 0.85 * (0.7 kept + 0.03 replaced by the same digit)
    assert followed / total == pytest.approx(0.15 + 0.85 * 0.73, abs=0.03)


def test_guessing_one_digit_does_not_pay():
    answers = Counter(p.answer for p in problems("test", 1000))
    assert max(answers.values()) / 1000 < 0.18
