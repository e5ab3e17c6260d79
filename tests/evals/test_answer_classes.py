"""Votes are grouped by what they mean, not by how they are spelled."""

from __future__ import annotations

from evals.answer_classes import answer_classes
from evals.judging import Finished, judge
from evals.samples import SampleFile
from reasoning_pipeline.records import Problem
from reasoning_pipeline.rollouts.clients.completions import Completion
from reasoning_pipeline.statistics.scores import RIGHT
from reasoning_pipeline.verifier import shared_verifier


def classes(gold: str, *answers: str) -> list[int | None]:
    strict, lenient = shared_verifier("strict"), shared_verifier("lenient")
    completion = Completion(token_ids=[1], logprobs=[0.0], finish="stop", policy_version="v")
    finished = [
        Finished(
            file=SampleFile.__new__(SampleFile),
            problem=Problem(id="p", question="What?", answer=gold),
            sample=index,
            seed=0,
            text=answer,
            completion=completion,
            opens_thinking=False,
        )
        for index, answer in enumerate(answers)
    ]
    return answer_classes({"p": judge(finished, strict, lenient)}, "lenient", lenient)["p"]


def test_right_answers_are_one_class_and_equal_wrong_ones_another():
    assert classes("3", "\\boxed{3}", "\\boxed{\\frac12}", "\\boxed{0.5}", "none", "\\boxed{4}", "\\boxed{3.0}") == [
        RIGHT, 1, 1, None, 2, RIGHT,
    ]  # fmt: skip


def test_spellings_of_integers_need_no_verifier():
    assert classes("3", "\\boxed{3}", "\\boxed{4}", "\\boxed{ 4 }", "\\boxed{5}") == [RIGHT, 1, 1, 2]
