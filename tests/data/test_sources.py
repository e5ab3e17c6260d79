"""Rows become problems, or the line that cannot says where it stands, what was found and what to do."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from reasoning_pipeline.data.config import DataConfig
from reasoning_pipeline.data.rows import MAX_LINE_BYTES, Columns, jsonl_rows, read_problem
from reasoning_pipeline.data.sources import load_problems
from reasoning_pipeline.errors import DataError
from reasoning_pipeline.records import Problem

Rows = Callable[..., Path]


def load(path: Path, **fields: Any) -> list[Problem]:
    return load_problems(DataConfig(source="jsonl", path=str(path), **fields), folder=Path("/nowhere"), seed=0)


def refusal(path: Path, text: bytes | None = None, **fields: Any) -> DataError:
    if text is not None:
        path.write_bytes(text)
    with pytest.raises(DataError) as error:
        load(path, **fields)
    assert error.value.remedy and error.value.exit_status == 2
    return error.value


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "problems.jsonl"


# --- columns ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("row", "columns"),
    [
        ({"question": "What is 2+3?", "answer": "5"}, {}),
        ({"problem": "What is 2+3?", "solution": 5}, {}),
        ({"prompt": "What is 2+3?", "reference": " 5 \n"}, {}),
        ({"problem": None, "prompt": "What is 2+3?", "answer": "5"}, {}),  # null is not there
        ({"q": "What is 2+3?", "a": "5", "question": "", "answer": ""}, {"question": "q", "answer": "a"}),
    ],
)
def test_usual_and_named_columns(rows: Rows, row: dict, columns: dict):
    (problem,) = load(rows([row]), columns=columns)
    assert (problem.question, problem.answer) == ("What is 2+3?", "5")


def test_ids_come_from_the_row_or_from_the_question(rows: Rows):
    items = [
        {"id": 0, "question": "a?", "answer": "1"},
        {"unique_id": "test/x.json", "question": "b?", "answer": "1"},
        {"question": "c?", "answer": "1"},
    ]
    ids = {p.question: p.id for p in load(rows(items))}
    assert (ids["a?"], ids["b?"]) == ("0", "test/x.json")
    assert ids["c?"].startswith("q-") and len(ids["c?"]) == 18
    # an id made from a question is the same in another file, at another line, with another answer
    (again,) = load(rows([{"question": "c?", "answer": "2"}], "other.jsonl"))
    assert again.id == ids["c?"]


def test_some_columns_are_kept_to_look_at(rows: Rows):
    row = {"question": "a?", "answer": "1", "level": 5, "subject": "Algebra", "secret": "x", "year": None}
    (problem,) = load(rows([row]))
    assert problem.meta == {"level": 5, "subject": "Algebra"}


def test_a_missing_column_is_named_with_what_was_found(rows: Rows):
    path = rows([{"question": "a?", "answer": "1"}, {"question": "b?", "final": "1"}])
    error = refusal(path)
    assert error.message == f"{path}:2: no column 'answer' or 'solution' or 'reference'; found 'question', 'final'"
    assert error.remedy == "name the column in the recipe: `columns: {answer: NAME}`"
    error = refusal(path, columns={"question": "text"})
    assert error.message == f"{path}:1: no column 'text'; found 'question', 'answer'"
    error = refusal(path, columns={"id": "uid"})  # an id that is asked for is not silently made up
    assert error.message == f"{path}:1: no column 'uid'; found 'question', 'answer'"
    assert refusal(path, b"{}\n").message == f"{path}:1: no column 'question' or 'problem' or 'prompt'; found none"


def test_a_column_of_lists_is_no_answer(rows: Rows):
    path = rows([{"question": "a?", "answer": ["1", "2"]}])
    assert refusal(path).message == f"{path}:1: column 'answer' holds a list, not a text"


# --- what cannot be used ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("answer", ["", "  \n", None])
def test_an_empty_answer_is_refused_or_set_aside(rows: Rows, answer: object):
    path = rows([{"question": "a?", "answer": "1"}, {"question": "b?", "answer": answer}])
    assert refusal(path).message == f"{path}:2: the answer is empty"
    assert [p.question for p in load(path, unusable_answers="set_aside")] == ["a?"]


@pytest.mark.parametrize("question", ["", " ", None])
def test_an_empty_question_is_refused(rows: Rows, question: object):
    path = rows([{"question": question, "answer": "1"}])
    assert refusal(path).message == f"{path}:1: the question is empty"


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        (b'{"question": "b?", "answer": "1"', "not valid JSON (Expecting ',' delimiter"),
        (b"{'question': 'b?'}", "not valid JSON (Expecting property name"),
        (b'{"question": "caf\xe9", "answer": "1"}', "not valid JSON ('utf-8' codec can't decode byte 0xe9"),
        (b"[" * 100_000, "not valid JSON (maximum recursion depth exceeded"),
        (b'["b?", "1"]', "expected an object, found list"),
        (b"null", "expected an object, found NoneType"),
        (
            b'{"question": "' + b"x" * MAX_LINE_BYTES + b'", "answer": "1"}',
            "a line of more than 1,048,576 bytes",
        ),
    ],
    ids=["cut off", "single quotes", "latin-1", "nested", "a list", "null", "too long"],
)
def test_a_broken_line_is_named_by_its_number(file: Path, line: bytes, sentence: str):
    # the blank third line counts as a line and is no mistake
    good = b'{"question": "a?", "answer": "1"}\n{"question": "c?", "answer": "1"}\n\n'
    assert refusal(file, good + line + b"\n").message.startswith(f"{file}:4: {sentence}")


def test_a_byte_order_mark_and_windows_line_ends_are_no_mistake(file: Path):
    text = '\ufeff{"question": "a?", "answer": "1"}\r\n{"question": "b?", "answer": "2"}\r\n'
    file.write_bytes(text.encode())
    assert sorted(p.answer for p in load(file)) == ["1", "2"]


def test_a_missing_file_is_looked_for_from_the_recipe_s_folder(tmp_path: Path):
    config = DataConfig(source="jsonl", path="gone.jsonl")
    with pytest.raises(DataError) as error:
        load_problems(config, folder=tmp_path, seed=0)
    assert error.value.message == f"{tmp_path / 'gone.jsonl'}: no such file"
    assert "relative to the recipe" in str(error.value.remedy)


# --- the set as a whole ----------------------------------------------------------------------------------------------


def test_a_question_counts_once_however_it_is_spaced(rows: Rows):
    path = rows([{"question": q, "answer": "5"} for q in ("What is 2+3?", "What  is\n2+3? ", "What is 2 +3?")])
    assert sorted(p.question for p in load(path)) == ["What is 2 +3?", "What is 2+3?"]


def test_two_questions_with_one_id_are_refused(rows: Rows):
    # everything later goes by id: pools, groups of rollouts, verdicts
    path = rows([{"id": "x", "question": q, "answer": "1"} for q in ("a?", "b?")])
    assert refusal(path).message == f"{path}:2: the id 'x' stands at {path}:1 already, with another question"
    same = rows([{"id": "x", "question": "a?", "answer": "1"}] * 2, "same.jsonl")
    assert len(load(same)) == 1


def test_order_and_choice_do_not_depend_on_the_order_of_the_rows(rows: Rows):
    items = [{"question": f"{i}?", "answer": "1"} for i in range(40)]
    whole = load(rows(items))
    assert whole == load(rows(items[::-1])) and len(whole) == 40
    assert load(rows(items), count=10) == load(rows(items[::-1]), count=10) == whole[:10]


def test_questions_are_read_as_the_file_has_them_with_or_without_answers(rows: Rows):
    path = rows([{"problem": "b?", "answer": "1"}, {"problem": "a?"}, {"problem": "b?", "answer": ""}])
    read = [read_problem(place, row, Columns(), questions_only=True) for place, row in jsonl_rows(path)]
    assert [(p.question, p.answer) for p in read] == [("b?", ""), ("a?", ""), ("b?", "")]


def test_arithmetic_problems_come_from_the_training_split_by_default():
    def first(**fields: Any) -> str:
        config = DataConfig(source="arithmetic", count=1, **fields)
        return load_problems(config, folder=Path(), seed=3)[0].question

    assert first() == first(split="pool") != first(split="validation")


# --- the hub ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """A hub with one table; what it is asked for is kept. Stands in for the `datasets` package, which is heavy."""
    import sys
    from types import SimpleNamespace

    state: dict[str, Any] = {"table": [{"problem": "a?", "solution": "1"}, {"problem": "b?", "solution": "2"}]}

    def load_dataset(*arguments: object, **options: object) -> list[dict]:
        state["asked"] = (arguments, options)
        if isinstance(state["table"], Exception):
            raise state["table"]
        return state["table"]

    monkeypatch.setitem(sys.modules, "datasets", SimpleNamespace(load_dataset=load_dataset))
    return state


def from_hub(**fields: Any) -> list[Problem]:
    return load_problems(DataConfig(source="hub", id="org/math", **fields), folder=Path(), seed=0)


def test_a_hub_data_set_is_asked_for_by_all_that_names_it(hub: dict[str, Any]):
    assert sorted(p.question for p in from_hub(revision="abc", subset="algebra", split="test")) == ["a?", "b?"]
    assert hub["asked"] == (("org/math", "algebra"), {"split": "test", "revision": "abc"})


def test_a_hub_row_is_named_by_its_number(hub: dict[str, Any]):
    hub["table"][1] = {"problem": "b?", "solution": " "}
    with pytest.raises(DataError, match=r"org/math\[1\]: the answer is empty"):
        from_hub()


def test_without_a_network_there_is_a_remedy(hub: dict[str, Any]):
    hub["table"] = ConnectionError("no route to host")
    with pytest.raises(DataError) as error:
        from_hub()
    assert error.value.message == "data set 'org/math' could not be loaded: no route to host"
    assert "`source: jsonl` with a local file" in str(error.value.remedy)


def test_rows_are_written_back_as_they_were_read(rows: Rows):
    # what the runner hands to a step's process
    (problem,) = load(rows([{"question": "¿√2?", "answer": "\\frac{3}{4}", "level": 2}]))
    again = Problem(**json.loads(json.dumps(vars(problem), ensure_ascii=False)))
    assert again == problem


def test_a_made_world_with_a_seed_of_its_own_has_the_same_problems_under_every_seed() -> None:
    made = DataConfig(source="word_problems", count=5, seed=3)
    theirs = DataConfig(source="word_problems", count=5)
    assert not made.varies_with_seed and theirs.varies_with_seed
    asked = [
        [p.question for p in load_problems(config, folder=Path(), seed=s)] for config in (made, theirs) for s in (3, 4)
    ]
    assert asked[0] == asked[1] == asked[2] != asked[3]
    with pytest.raises(ValueError, match="`seed` is for worlds made here"):
        DataConfig(source="jsonl", path="x.jsonl", seed=3)
