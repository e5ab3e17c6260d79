"""The command that grades a file: streaming, in order, and helpful about bad rows."""

from __future__ import annotations

import io
import json
import subprocess
import sys

from evals.grade import grade_file, main

ROWS = [
    {"gold": "42", "prediction": r"\boxed{42}", "id": "a"},
    {"gold": "42", "prediction": r"\boxed{43}"},
    {"gold": "42", "prediction": "42", "pred_kind": "latex"},
    {"gold": 42, "prediction": 42, "pred_kind": "latex"},
    {"gold": "$42$", "prediction": "it is 42", "gold_kind": "text"},
    {"gold": "42", "prediction": "it is 42"},
]


def lines(rows):
    return "".join(json.dumps(row) + "\n" for row in rows)


def test_one_verdict_a_row_in_order():
    out = io.StringIO()
    summary = grade_file(io.StringIO(lines(ROWS)), out)
    statuses = [json.loads(line)["status"] for line in out.getvalue().splitlines()]
    assert statuses == ["correct", "wrong", "correct", "correct", "correct", "no_box"]
    assert (summary.rows, summary.graded, summary.statuses["correct"]) == (6, 6, 4)


def test_a_bad_row_is_named_and_the_others_are_graded(tmp_path, capsys):
    file, out = tmp_path / "rows.jsonl", tmp_path / "verdicts.jsonl"
    file.write_text(lines(ROWS[:1]) + "not json\n" + '{"gold": "1"}\n[1]\n' + lines(ROWS[1:2]))
    assert main([str(file), "--out", str(out)]) == 1
    statuses = [json.loads(line)["status"] for line in out.read_text().splitlines()]
    assert statuses == ["correct", None, None, None, "wrong"]
    errors = capsys.readouterr().err
    assert "line 2: not JSON" in errors and "line 3: prediction" in errors and "line 4: expected an object" in errors


def test_a_missing_file_is_said_so(tmp_path, capsys):
    assert main([str(tmp_path / "none.jsonl")]) == 2
    assert "give the path" in capsys.readouterr().err


def test_profiles_side_by_side(tmp_path, capsys):
    file = tmp_path / "rows.jsonl"
    file.write_text(lines([*ROWS[:2], {"gold": "42", "prediction": r"\boxed{42\%}", "id": "percent"}]))
    assert main([str(file), "--disagreements"]) == 0
    shown = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(row["id"], row["strict"]["status"], row["lenient"]["status"]) for row in shown] == [
        ("percent", "wrong", "correct")
    ]


def test_agreement_with_an_expected_column(tmp_path, capsys):
    file = tmp_path / "cases.jsonl"
    file.write_text(
        lines([ROWS[0] | {"expected": True, "source": "own"}, ROWS[1] | {"expected": True, "source": "own"}])
    )
    assert main([str(file), "--expected"]) == 0
    shown = capsys.readouterr().out
    assert "source own" in shown and "50.0%" in shown and "false reject: line 2" in shown


def test_it_reads_a_pipe():
    done = subprocess.run(
        [sys.executable, "-m", "evals.grade", "-"], input=lines(ROWS), capture_output=True, text=True, check=True
    )
    assert [json.loads(line)["line"] for line in done.stdout.splitlines()] == [1, 2, 3, 4, 5, 6]
