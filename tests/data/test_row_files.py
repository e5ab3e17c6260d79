"""Rows of every format, and what becomes of damaged and enormous ones."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from reasoning_pipeline.data import row_files
from reasoning_pipeline.data.config import DataConfig
from reasoning_pipeline.data.sources import load_problems
from reasoning_pipeline.errors import DataError
from reasoning_pipeline.records import Problem

ROWS = [{"q": "1+1?", "a": "2", "x": {"tests": ["t"]}}, {"q": "2+2?", "a": "4", "x": {"tests": []}}]
COLUMNS = {"question": "q", "answer": "a"}


def load(path: Path, **fields: Any) -> list[Problem]:
    config = DataConfig.model_validate({"source": "file", "path": path.name, "columns": COLUMNS, **fields})
    return sorted(load_problems(config, folder=path.parent, seed=0), key=lambda problem: problem.question)


def write(path: Path) -> Path:
    if path.suffix == ".parquet":
        import pyarrow
        import pyarrow.parquet

        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(ROWS), path)
        return path
    name = path.name.removesuffix(".gz")
    text = {
        "r.jsonl": "".join(json.dumps(row) + "\n" for row in ROWS),
        "r.json": json.dumps(ROWS),
        "r.csv": 'q,a,x\n1+1?,2,"t, u"\n2+2?,4,\n',
    }[name]
    path.write_bytes(gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode())
    return path


@pytest.mark.parametrize("name", ["r.jsonl", "r.jsonl.gz", "r.json", "r.json.gz", "r.csv", "r.csv.gz", "r.parquet"])
def test_every_format_holds_the_same_problems(tmp_path: Path, name: str) -> None:
    problems = load(write(tmp_path / name), keep=["x"])
    assert [(p.question, p.answer) for p in problems] == [("1+1?", "2"), ("2+2?", "4")]
    assert [p.meta for p in problems] == ([{"x": "t, u"}, {}] if "csv" in name else [{"x": row["x"]} for row in ROWS])


@pytest.mark.slow
def test_a_folder_that_datasets_saved(tmp_path: Path) -> None:
    import datasets

    table = datasets.Dataset.from_list(ROWS)
    table.save_to_disk(tmp_path / "one")
    datasets.DatasetDict({"train": table, "test": table.select([0])}).save_to_disk(tmp_path / "two")
    assert len(load(tmp_path / "one")) == len(load(tmp_path / "two")) == 2
    assert [p.question for p in load(tmp_path / "two", split="test")] == ["1+1?"]
    with pytest.raises(DataError, match=r"no split 'dev' \(splits: train, test\)"):
        load(tmp_path / "two", split="dev")
    (tmp_path / "three").mkdir()
    with pytest.raises(DataError, match="not a saved data set"):
        load(tmp_path / "three")


def test_dotted_paths_look_inside(tmp_path: Path) -> None:
    path = tmp_path / "r.jsonl"
    path.write_text('{"m": [{"content": "1+1?"}], "e": {"a": {"b": 2}}, "x.y": "flat", "x": {"y": "deep"}}\n')
    columns = {"question": "m.0.content", "answer": "e.a.b"}
    (problem,) = load(path, columns=columns, keep={"inner": "e.a", "own": "x.y"})
    assert (problem.question, problem.answer) == ("1+1?", "2")
    assert problem.meta == {"inner": {"b": 2}, "own": "flat"}, "a column of that very name goes first"
    with pytest.raises(DataError, match=r"no column 'e\.a\.c'"):
        load(path, columns=columns | {"answer": "e.a.c"})


def test_a_question_may_be_a_conversation(tmp_path: Path) -> None:
    path = tmp_path / "r.jsonl"
    system, user = {"role": "system", "content": "Be brief."}, {"role": "user", "content": "1+1?"}
    rows = [[user], [system, user], [user, {"role": "assistant", "content": "2"}, {"role": "user", "content": "+1?"}]]
    path.write_text("".join(json.dumps({"prompt": row, "answer": "2"}) + "\n" for row in rows))
    by_length = sorted(load(path, columns={}), key=lambda problem: len(problem.messages or ()))
    assert [problem.messages for problem in by_length] == [None, rows[1], rows[2]]
    assert [problem.question for problem in by_length] == ["1+1?", "1+1?", "1+1?\n\n2\n\n+1?"]
    assert len({problem.id for problem in by_length}) == 3


@pytest.mark.parametrize(
    ("prompt", "said"),
    [
        ([], "last message"),
        ([{"role": "assistant", "content": "x"}], "last message"),
        ([{"role": "tool", "content": "x"}], "role 'tool'"),
        ([{"role": "user", "content": 3}], "no text under"),
        (["x"], "no text under"),
        ([{"role": "user", "content": "x"}, {"role": "system", "content": "x"}], "role 'system'"),
    ],
)
def test_what_is_no_conversation_is_told(tmp_path: Path, prompt: Any, said: str) -> None:
    path = tmp_path / "r.jsonl"
    path.write_text(json.dumps({"prompt": prompt, "answer": "2"}) + "\n")
    with pytest.raises(DataError, match=rf"r\.jsonl:1: .*{said}"):
        load(path, columns={})


def test_a_map_makes_rows_of_rows_and_leaves_some_out(tmp_path: Path) -> None:
    path = write(tmp_path / "r.jsonl")
    (tmp_path / "prepare.py").write_text(
        "import os\nos.write(1, b'noise')\n"
        "def row(r):\n    return None if r['a'] == '2' else {'question': r['q'].strip('?'), 'answer': r['a']}\n"
    )
    assert [(p.question, p.answer) for p in load(path, columns={}, map="prepare.py:row")] == [("2+2", "4")]


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("return r['nothing']", r"r\.jsonl:1: prepare.py:row: prepare.py:2: KeyError: 'nothing'"),
        ("return 3", r"r\.jsonl:1: prepare.py:row returned int instead of a row"),
        ("return {'question': {1}}", "JSON cannot hold"),
        ("import os; os._exit(3)", r"r\.jsonl:1 to .*r\.jsonl:2: prepare.py:row: worker died \(exit status 3\)"),
    ],
)
def test_a_mistake_of_a_map_names_the_row_and_the_line(tmp_path: Path, body: str, said: str) -> None:
    path = write(tmp_path / "r.jsonl")
    (tmp_path / "prepare.py").write_text(f"def row(r):\n    {body}\n")
    with pytest.raises(DataError, match=said):
        load(path, map="prepare.py:row")


def test_answers_may_be_missing_where_the_recipe_says_so(tmp_path: Path) -> None:
    path = tmp_path / "r.jsonl"
    path.write_text('{"question": "write a poem"}\n{"question": "another", "answer": "x"}\n')
    assert [p.answer for p in load(path, columns={"answer": None})] == ["", ""]


@pytest.mark.parametrize(
    ("name", "data", "said"),
    [
        ("r.txt", b"x", "what format is this"),
        ("r.jsonl.gz", b"no gzip", "not a whole gzip file"),
        ("r.jsonl.gz", gzip.compress(b'{"q": "1", "a": "2"}\n', mtime=0)[:-12], "not a whole gzip file"),
        ("r.json", b"{", "not valid JSON"),
        ("r.json", b"[" * 100_000, "not valid JSON"),
        ("r.json", b'{"a": [], "b": []}', "2 of its values are lists"),
        ("r.json", b"[1]", r"r.json\[0\]: expected an object"),
        ("r.csv", b"q,a\n1,2,3\n", "r.csv:2: more values than the 2 columns"),
        ("r.csv", b"q,a\n1\n", "r.csv:2: fewer values"),
        ("r.csv", b"q,q\n1,2\n", "two columns are called alike"),
        ("r.csv", b"q,a\n\xff,2\n", "not valid CSV"),
        ("r.csv", b'q,a\n"1,2\n', "not valid CSV"),
        ("r.parquet", b"PAR1xxxxPAR1", "not to be read as Parquet"),
    ],
)
def test_a_damaged_file_is_told_with_its_place(tmp_path: Path, name: str, data: bytes, said: str) -> None:
    (tmp_path / name).write_bytes(data)
    with pytest.raises(DataError, match=said):
        load(tmp_path / name)
    with pytest.raises(DataError, match="no such file"):
        load(tmp_path / f"missing-{name.replace('.txt', '.csv')}")


def test_a_small_file_that_unpacks_to_a_large_one_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(row_files, "MAX_UNPACKED_BYTES", 1 << 20)
    path = tmp_path / "r.jsonl.gz"
    path.write_bytes(gzip.compress(b"\n" * (2 << 20)))
    with pytest.raises(DataError, match="unpacks to more than"):
        load(path)
    monkeypatch.setattr(row_files, "MAX_UNPACKED_BYTES", 4 << 20)
    path.write_bytes(gzip.compress(b"x" * (2 << 20)))  # one line without end
    with pytest.raises(DataError, match="a line of more than"):
        load(path)
