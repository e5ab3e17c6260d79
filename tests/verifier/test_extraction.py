"""Where the answer is: boxes, thinking, and what is not an answer."""

from __future__ import annotations

import time

import pytest

from reasoning_pipeline.verifier.extraction import extract_answer
from reasoning_pipeline.verifier.unboxed import extract_unboxed


@pytest.mark.parametrize(
    ("text", "status", "answer"),
    [
        (r"so \boxed{42}.", "found", "42"),
        (r"so \fbox{42}", "found", "42"),
        (r"\boxed {\frac{1}{2}}", "found", r"\frac{1}{2}"),
        (r"\boxed{\{1, 2\}}", "found", r"\{1, 2\}"),
        (r"\boxed 7", "found", "7"),
        ("the answer is 42", "no_box", None),
        (r"\boxed{}", "empty_box", ""),
        (r"\boxed{ }", "empty_box", " "),
        (r"\boxed{42", "unclosed_box", None),
        (r"\boxed{41} no, \boxed{42", "unclosed_box", None),
        (r"\boxed{\text{42}", "unclosed_box", None),
        (r"first \boxed{41}. Wait: \boxed{42}", "found", "42"),
        (r"\boxed{41}\boxed{42}", "found", "42"),
        (r"\boxed{3} and \boxed{4}", "found", "3 , 4"),
        (r"$\boxed{3}$ or $\boxed{4}$", "found", "3 , 4"),
        (r"\boxed{5}, \boxed{5}", "found", "5"),
        (r"<think>\boxed{41}</think> \boxed{42}", "found", "42"),
        (r"reasoning</think>\boxed{42}", "found", "42"),
        (r"<think>\boxed{42}</think> done", "no_box", None),
        (r"<think> \boxed{42}", "unfinished_thinking", None),
        (r"<think>a</think>\boxed{42}<think>b", "unfinished_thinking", None),
        (r"<think>the tag </think> is quoted</think>\boxed{42}", "found", "42"),
        (r"It is \boxed{42}. I put it into \boxed{} as you asked.", "found", "42"),
        (r"It is \boxed{42} (given in `\boxed{}`).", "found", "42"),
        (r"It is \boxed{42}, in \boxed format.", "found", "42"),
        (r"It is \boxed{42}, written as \boxed{...} or \boxed{\text{answer}}.", "found", "42"),
        (r"I shall answer in \boxed format.", "no_box", None),
        (r"I shall answer in \boxed{}.", "empty_box", ""),
        (r"\boxed{42} and again \boxed{42", "unclosed_box", None),
        ("\x08oxed{42}", "found", "42"),
        (r"<think>a</think> \boxed{42} (see the <think> block)", "found", "42"),
        (r"<think>a</think> \boxed{42} (my notes are in the `<think>` tags)", "found", "42"),
        (r"<think>a</think> \boxed{42}. The </think> tag ends the notes.", "found", "42"),
        (r"<think>so 41 </think> The answer is \boxed{42}", "found", "42"),
        (r"<think>so \boxed{41} </think> The answer is 42", "no_box", None),
        ("Perhaps \\boxed{41}.\n</think>\n\nIt is 42.", "no_box", None),
        ("\\boxed{41}\n<think>\nWait, \\boxed{42}", "unfinished_thinking", None),
    ],
)
def test_the_last_box_after_thinking(text, status, answer):
    found = extract_answer(text)
    assert (found.status, found.answer) == (status, answer)


UNITS = [
    r"\boxed{", "{", "}", r"\boxed{1} and ", "<think>", r"\\{", "$", r"\boxed", r"\boxed{}", r"\boxed{1}\boxed{",
    "</think> a ",     "\n", " ", ".", "#### ", "The answer is ", r"answer: \a\b", "1 000 ", r"\a", "x = "]  # fmt: skip


@pytest.mark.parametrize("unit", UNITS)
def test_extraction_is_linear_in_the_text(unit):
    short, long = unit * 2_000, unit * 20_000
    seconds = []
    for text in (short, long):
        started = time.process_time()
        extract_answer(text)
        extract_answer(r"\boxed{1} and \boxed{" + text + "x}")
        extract_unboxed(text + "!? words")
        seconds.append(time.process_time() - started)
    # ten times the text may cost ten times the time, with room for a busy machine; never a hundred times
    assert seconds[1] < 40 * seconds[0] + 0.2


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("The final answer is $12$. I hope it is correct.", "12"),
        ("there are 7,425 of them", "7,425"),
        ("1000,99", "1000.99"),
        ("about 28 percent", r"28\%"),
        ("$1$ and $2$", "1 , 2"),
        (r"it is \boxed{5}, not 6", "5"),
        ("so 3 * 6 = 18\n#### 18\nQuestion: how many?\n7 - 4 = 3\n#### 3", "18"),
        ("### Step 2\n#### Result\nblah\n#### $23", "23"),
        ("The answer is 42. It took 3 steps.", "42"),
        ("The answer is 72, in total, so the farmer has 80.", "72"),
        ("**Answer:** 8 - 3√7", "8 - 3√7"),
        ("**Answer: 58**", "58"),
        ("Final Answer: 3/8", "3/8"),
        ("The answer is 18.\n\nQuestion: what is 2 + 1?\nThe answer is 3.", "18"),
        ("Therefore x = 7.", "7"),
    ],
)
def test_without_a_box_protocol_the_last_statement_counts(text, answer):
    assert extract_unboxed(text).answer == answer


def test_a_cut_off_completion_is_truncated_unless_its_answer_was_out(verifiers):
    texts = [r"so \boxed{42", "I think", "<think>", r"\boxed{42} and then"]
    verdicts = verifiers["strict"].judge(["42"] * 4, texts, finishes=["length"] * 4)
    assert [verdict.status for verdict in verdicts] == ["truncated", "truncated", "truncated", "correct"]
    stopped = verifiers["strict"].judge(["42"] * 3, texts[:3], finishes=["stop"] * 3)
    assert [verdict.status for verdict in stopped] == ["unclosed_box", "no_box", "unfinished_thinking"]
