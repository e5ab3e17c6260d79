"""Suites: found, read, counted, digested; what is wrong with a file is said with its line."""

from __future__ import annotations

import json
import sys

import pytest

from reasoning_pipeline.data.suites.loading import data_digest, load_suite
from reasoning_pipeline.data.suites.spec import suite_names, suite_spec
from reasoning_pipeline.errors import DataError

ROWS = [{"unique_id": f"p{i}", "problem": f"What is {i} plus one?", "answer": str(i + 1)} for i in range(3)]


@pytest.fixture
def write_rows(rows):
    return rows


def test_every_suite_file_is_valid_and_has_one_pinned_source():
    assert {"math500", "math", "aime24", "aime25", "gsm8k", "arithmetic", "arithmetic_hard"} <= set(suite_names())
    for name in suite_names():
        spec = suite_spec(name)
        assert (spec.hub is None) != (spec.generator is None), name
        assert spec.rows, name


def test_ones_own_file(write_rows):
    suite = load_suite(str(write_rows(ROWS, "mine.jsonl")))
    assert (suite.name, len(suite.problems), suite.rows) == ("mine", 3, 3)
    assert suite.problems[1].answer == "2"


def test_the_digest_ignores_order_and_layout_and_sees_a_changed_answer(write_rows):
    def digest(rows):
        return load_suite(str(write_rows(rows))).digest

    spaced = [{**row, "problem": row["problem"].replace(" ", "\n  "), "url": "x"} for row in ROWS]
    assert digest(ROWS) == digest(ROWS[::-1]) == digest(spaced)
    assert digest(ROWS) != digest([{**ROWS[0], "answer": "7"}, *ROWS[1:]])


def test_a_changed_benchmark_is_noticed(write_rows):
    aime = [{"id": i, "problem": f"Problem {i}?", "answer": f"{i:03}"} for i in range(30)]
    with pytest.raises(DataError, match=r"(?s)not the aime24 that was pinned.*--allow-changed-data") as error:
        load_suite("aime24", data=write_rows(aime))
    assert error.value.exit_status == 2
    with pytest.raises(DataError, match=r"aime24 has 30 rows, found 29"):
        load_suite("aime24", data=write_rows(aime[:29]))
    suite = load_suite("aime24", data=write_rows(aime[:29]), allow_changed=True)
    assert "found 29" in suite.notes[0]


def test_aime_golds_are_integers_however_they_were_distributed(write_rows):
    rows = [
        {"id": 1, "problem": "One?", "answer": "025", "solution": "\\boxed{3} so \\boxed{25}"},
        {"id": 2, "problem": "Two?", "answer": "336^\\circ"},
        {"id": 3, "problem": "Three?", "answer": 7},
    ]
    suite = load_suite("aime24", data=write_rows(rows), allow_changed=True)
    assert [problem.answer for problem in suite.problems] == ["25", "336", "7"]
    with pytest.raises(DataError, match=r":1: expected an integer answer, found '1/2'"):
        load_suite("aime24", data=write_rows([{"problem": "One?", "answer": "1/2"}]), allow_changed=True)


def test_gsm8k_answers_follow_the_hashes(write_rows):
    rows = [{"question": "How many?", "answer": "2 * 3 = <<2*3=6>>6\n#### 1,006"}]
    problem = load_suite("gsm8k", data=write_rows(rows), allow_changed=True).problems[0]
    assert (problem.answer, problem.id[:2]) == ("1006", "q-")
    with pytest.raises(DataError, match=r"(?s):1: .*####"):
        load_suite("gsm8k", data=write_rows([{"question": "How many?", "answer": "a\nb"}]), allow_changed=True)


def test_math_takes_the_last_box_of_a_solution_or_an_answer_column(write_rows):
    rows = [
        {
            "problem": "One?",
            "solution": "\\boxed{1}. No, \\boxed{\\frac{1}{2}}.",
            "level": "Level 3",
            "type": "Algebra",
        },
        {"problem": "Two?", "answer": "5", "level": 4},
    ]
    first, second = load_suite("math", data=write_rows(rows), allow_changed=True).problems
    assert (first.answer, first.meta) == ("\\frac{1}{2}", {"subject": "Algebra", "level": 3})
    assert (second.answer, second.meta) == ("5", {"level": 4})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"problem": "One?"}', r":1: no column 'answer' or .*; found 'problem'"),
        ('{"text": "One?", "answer": "1"}', r":1: no column 'question' or .*; found 'text', 'answer'"),
        ('{"problem": "One?", "answer": "1"}\n{"problem"', r":2: not valid JSON"),
        ('["One?"]', r":1: expected an object, found list"),
        ('{"problem": " ", "answer": "1"}', r":1: the question is empty"),
        ('{"problem": "One?", "answer": ["1"]}', r":1: column 'answer' holds a list"),
        ("", r"no problems"),
        ('{"problem": "One?", "answer": ""}', r"none of 1 answers can be judged against.*empty answer"),
        ('{"id": 1, "problem": "One?", "answer": "1"}\n{"id": 1, "problem": "Two?", "answer": "2"}', r":2: the id"),
        ('{"problem": "One?", "answer": "1"}\n{"problem": "One? ", "answer": "1"}', r":2: the same problem as .*:1"),
    ],
)
def test_bad_files_say_where(tmp_path, text: str, message: str):
    path = tmp_path / "bad.jsonl"
    path.write_text(text)
    with pytest.raises(DataError, match=message):
        load_suite(str(path))


def test_files_that_cannot_be_read(tmp_path):
    with pytest.raises(DataError, match="no such file"):
        load_suite(str(tmp_path / "none.jsonl"))
    (tmp_path / "latin.jsonl").write_bytes(b"\xe9")
    with pytest.raises(DataError, match="not valid JSON"):
        load_suite(str(tmp_path / "latin.jsonl"))


def test_references_that_cannot_be_judged_are_set_aside_and_listed(write_rows):
    rows = [
        *ROWS,
        {"unique_id": "bad", "problem": "Bad?", "answer": "\\frac{"},
        {"unique_id": "no", "problem": "No?", "answer": ""},
    ]
    suite = load_suite(str(write_rows(rows)))
    assert [problem.id for problem in suite.problems] == ["p0", "p1", "p2"]
    assert sorted(name for name, _ in suite.set_aside) == ["bad", "no"]
    assert suite.rows == 5


def test_a_repeated_problem_can_be_let_through_once(write_rows):
    suite = load_suite(str(write_rows([*ROWS, ROWS[0]])), allow_changed=True)
    assert len(suite.problems) == 3
    assert "counted twice" in suite.notes[0]


def test_an_unknown_suite_names_those_there_are():
    with pytest.raises(DataError, match=r'(?s)no suite is called "math5000".*math500'):
        load_suite("math5000")


def test_a_hub_that_cannot_be_reached_says_what_to_do(monkeypatch):
    class Offline:
        @staticmethod
        def load_dataset(*arguments, **options):
            raise ConnectionError("no network\nlong story")

    monkeypatch.setitem(sys.modules, "datasets", Offline)
    with pytest.raises(
        DataError, match=r"HuggingFaceH4/MATH-500' could not be loaded: no network(.|\n)*--data math500=FILE"
    ):
        load_suite("math500")


def test_hub_rows_are_read_by_the_suites_columns(monkeypatch):
    asked = {}

    class Hub:
        @staticmethod
        def load_dataset(name, config, *, split, revision):
            asked.update(name=name, config=config, split=split, revision=revision)
            return [{"question": f"How many {i}?", "answer": f"#### {i}"} for i in range(1319)]

    monkeypatch.setitem(sys.modules, "datasets", Hub)
    suite = load_suite("gsm8k", audit=False)
    assert len(suite.problems) == 1319
    assert (asked["name"], asked["config"], asked["split"], len(asked["revision"])) == (
        "openai/gsm8k",
        "main",
        "test",
        40,
    )
    assert suite.source.startswith("hub:openai/gsm8k@")


def test_a_limit_keeps_the_identity_of_the_whole(write_rows):
    whole = load_suite(str(write_rows(ROWS)))
    part = whole.limited(2)
    assert (len(part.problems), part.digest, part.rows) == (2, whole.digest, 3)
    assert whole.limited(99) is whole


def test_arithmetic_is_generated_and_pinned():
    pytest.importorskip("reasoning_pipeline.data.arithmetic")
    test, hard = load_suite("arithmetic"), load_suite("arithmetic_hard")
    assert (len(test.problems), len(hard.problems)) == (500, 250)
    assert json.loads(test.source.removeprefix("generated:"))["split"] == "test"
    assert data_digest(test.problems) == test.digest


def test_a_published_answer_known_to_be_wrong_is_told_and_not_changed(write_rows):
    question = (
        "After scoring 14 points, Erin now has three times more points than Sara, who scored 8. "
        "How many points did Erin have before?"
    )
    rows = [{"question": question, "answer": "…\n#### 18"}, {"question": "1+1?", "answer": "#### 2"}]
    suite = load_suite("gsm8k", data=write_rows(rows), allow_changed=True)
    assert suite.problems[0].answer == "18"
    assert [note for note in suite.notes if "known issue" in note and "Erin had 10" in note]
    others = load_suite("gsm8k", data=write_rows(rows[1:], "others.jsonl"), allow_changed=True)
    assert not any("known issue" in note for note in others.notes)
