"""What the plain kinds of reward pay, over texts as models write them."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from reasoning_pipeline.records import Problem
from reasoning_pipeline.rewards.config import MATH, Reward
from reasoning_pipeline.rewards.judge import RewardJudge
from reasoning_pipeline.rewards.rules import number


def judge(reward: Any, answer: str, text: str, finish: str = "stop") -> tuple[str, float | None]:
    parts = TypeAdapter(Reward).validate_python(reward)
    verdict = RewardJudge(parts).judge([Problem(id="p", question="?", answer=answer)], [text], [finish])[0]
    return verdict.status, verdict.reward


@pytest.mark.parametrize(
    ("reward", "answer", "text", "expected"),
    [
        ("exact", "Paris", r"It is \boxed{Paris}", ("correct", 1.0)),
        ("exact", "Paris", r"\boxed{paris}", ("wrong", 0.0)),
        ({"kind": "exact", "ignore_case": True}, "Paris", r"\boxed{paris}", ("correct", 1.0)),
        ("exact", "New  York", "\\boxed{New\u00a0York}", ("correct", 1.0)),  # a no-break space is white space
        ("exact", "Paris", "Paris", ("no_box", 0.0)),
        ({"kind": "exact", "where": "text"}, "Paris", "<think>\nRome\n</think>\nParis", ("correct", 1.0)),
        ({"kind": "exact", "where": "text"}, "Paris", "<think>\nParis", ("unfinished_thinking", 0.0)),
        ({"kind": "exact", "where": "last_line"}, "7", "3+4\n7\n", ("correct", 1.0)),
        ({"kind": "exact", "after": "Answer:"}, "7", "Answer: 6? No.\nAnswer: 7\nDone", ("correct", 1.0)),
        ({"kind": "exact", "after": "Answer:"}, "7", "7", ("no_box", 0.0)),
        ("choice", "B", r"\boxed{B}", ("correct", 1.0)),
        ("choice", "(b)", r"\boxed{\text{B}}", ("correct", 1.0)),
        ("choice", "B", r"\boxed{B. Paris}", ("correct", 1.0)),
        ("choice", "B", r"\boxed{Blue}", ("wrong", 0.0)),
        ("choice", "B", r"\boxed{A}", ("wrong", 0.0)),
        ("numeric", "1204.5", r"\boxed{1,204.50}", ("correct", 1.0)),
        ("numeric", "3/4", r"\boxed{0.75}", ("correct", 1.0)),
        ("numeric", "0.75", r"\boxed{\frac{3}{4}}", ("correct", 1.0)),
        ("numeric", "10", r"\boxed{10.4}", ("wrong", 0.0)),
        ({"kind": "numeric", "absolute": 0.5}, "10", r"\boxed{10.4}", ("correct", 1.0)),
        ({"kind": "numeric", "relative": 0.05}, "10", r"\boxed{10.4}", ("correct", 1.0)),
        ("numeric", "10", r"\boxed{ten}", ("wrong", 0.0)),
        ("format", "", r"so \boxed{1}", ("correct", 1.0)),
        ("format", "", "so 1", ("wrong", 0.0)),
        ("math", "1/2", r"\boxed{0.5}", ("correct", 1.0)),
        ([{"kind": "math", "weight": 1}, {"kind": "format", "weight": 0.5}], "7", r"\boxed{7}", ("correct", 1.5)),
        ([{"kind": "math", "weight": 1}, {"kind": "format", "weight": 0.5}], "7", r"\boxed{8}", ("wrong", 0.5)),
    ],
)
def test_kinds(reward: Any, answer: str, text: str, expected: tuple[str, float]) -> None:
    assert judge(reward, answer, text) == expected


def test_an_answer_that_was_cut_off_is_truncated_and_has_no_form() -> None:
    assert judge("exact", "7", r"so \boxed{", "length") == ("truncated", 0.0)
    assert judge("format", "", r"\boxed{1} and", "length") == ("wrong", 0.0)


def test_a_pattern_is_matched_elsewhere_and_one_that_never_ends_is_ended() -> None:
    assert judge({"kind": "format", "pattern": r"<a>.*</a>"}, "", "<a>x\ny</a>") == ("correct", 1.0)
    assert judge({"kind": "format", "pattern": r"<a>.*</a>"}, "", "x<a></a>") == ("wrong", 0.0)
    assert judge({"kind": "format", "pattern": r"(a+)+b"}, "", "a" * 60) == ("timeout", None)


@pytest.mark.parametrize("text", ["", "1e9999", "nan", "inf", "0x10", "1/0", "9" * 100_000, "1 2", "--1", "1e", "٣"])
def test_what_is_no_number(text: str) -> None:
    assert number(text) is None


def test_an_answer_no_kind_can_serve_is_set_aside_and_named() -> None:
    problems = [Problem(id=f"p{i}", question="?", answer=answer) for i, answer in enumerate(["A", "Z9", "", "3"])]

    def aside(reward: Any) -> list[str]:
        audit = RewardJudge(TypeAdapter(Reward).validate_python(reward)).usable(problems)
        assert len(audit.usable) + len(audit.set_aside) == len(problems)
        return [name for name, _ in audit.set_aside]

    assert aside("choice") == ["p1", "p2", "p3"]
    assert aside("numeric") == ["p0", "p1", "p2"]
    assert aside("exact") == ["p2"]
    assert aside("format") == []


@pytest.mark.parametrize(
    ("reward", "said"),
    [
        ("maths", "no reward is called 'maths'; did you mean \"math\"?"),
        ("my_rewards.py", "a file needs the function's name"),
        ([], "at least one"),
        (3, "a mapping with `kind`"),
        ({"weight": 1}, "a mapping with `kind`"),
        ("a b:c", "names no function"),
        ({"kind": "function"}, "needs `function"),
        ({"kind": "format", "pattern": "("}, "not a regular expression"),
        ({"kind": "exact", "wher": "box"}, "Extra inputs"),
        ({"kind": "math", "weight": float("nan")}, "finite"),
    ],
)
def test_what_is_no_reward_is_told(reward: Any, said: str) -> None:
    with pytest.raises(ValidationError, match=said.replace("?", r"\?").replace("(", r"\(")):
        TypeAdapter(Reward).validate_python(reward)


def test_the_default_is_math_however_it_is_written() -> None:
    for written in ("math", ["math"], {"kind": "math"}, [{"kind": "math", "weight": 1}]):
        assert TypeAdapter(Reward).validate_python(written) == MATH
