"""The command that grades a file: streaming, in order, and helpful about bad rows."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from collections import Counter

import pytest

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


BAD_ROWS = [
    ('{"gold": "1", "prediction": "\\ud800"}', "prediction: half a character"),
    ('{"gold": "1", "prediction": "1", "question": 5}', "question: expected text, found int"),
    ('{"gold": "1", "prediction": "1", "finish": ["stop"]}', "finish: expected text, found list"),
    ('{"gold": NaN, "prediction": "1"}', "NaN is no number"),
    ('{"gold": "1", "prediction": -Infinity}', "-Infinity is no number"),
    ('{"gold": "1", "prediction": "1", "pred_kind": "tex"}', "pred_kind: expected latex or text, found 'tex'"),
    ('{"gold": "1", "prediction": "1", "gold_kind": 1}', "gold_kind: expected latex or text, found 1"),
]


@pytest.mark.parametrize(("row", "reason"), BAD_ROWS, ids=[reason for _, reason in BAD_ROWS])
def test_one_bad_row_is_one_bad_row(tmp_path, capsys, row, reason):
    file, out = tmp_path / "rows.jsonl", tmp_path / "verdicts.jsonl"
    file.write_text(lines(ROWS[:1]) + row + "\n" + lines(ROWS[1:2]), encoding="utf-8")
    assert main([str(file), "--out", str(out)]) == 1
    assert [json.loads(line)["status"] for line in out.read_text().splitlines()] == ["correct", None, "wrong"]
    assert f"line 2: {reason}" in capsys.readouterr().err.replace("not JSON: ", "")


def test_a_byte_order_mark_is_no_part_of_the_first_row(tmp_path):
    file, out = tmp_path / "rows.jsonl", tmp_path / "verdicts.jsonl"
    file.write_text("\ufeff" + lines(ROWS[:1]), encoding="utf-8")
    assert main([str(file), "--out", str(out)]) == 0
    summary = grade_file(io.StringIO("\ufeff" + lines(ROWS[:1])))
    assert summary.statuses["correct"] == 1 and json.loads(out.read_text())["status"] == "correct"


@pytest.mark.parametrize(
    ("prediction", "status"),
    [
        ("7", "correct"),
        ("x = 7", "correct"),
        (r"\frac{14}{2}", "correct"),
        (r"7 \text{ apples}", "correct"),
        ("8", "wrong"),
        ("east", "wrong"),
        ("it is 7", "no_box"),
        ("The answer is 7.", "no_box"),
        ("7\nor so", "no_box"),
        ("<think>7", "unfinished_thinking"),
    ],
)
def test_a_short_prediction_without_a_box_is_a_bare_answer(prediction, status):
    summary = grade_file(io.StringIO(lines([{"gold": "7", "prediction": prediction}])))
    assert summary.statuses == {status: 1}


def test_a_case_may_expect_the_strict_profile_to_differ(tmp_path, capsys):
    file = tmp_path / "cases.jsonl"
    file.write_text(lines([{"gold": "7", "prediction": "\\boxed{7\\%}", "expected": True, "expected_strict": False}]))
    for profile in ("strict", "lenient"):
        assert main([str(file), "--expected", "--profile", profile]) == 0
        assert "100.0%" in capsys.readouterr().out


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


ERIN = (
    "After scoring 14 points, Erin now has three times more points than Sara, who scored 8. "
    "How many points did Erin have before?"
)


def test_a_gold_that_ends_a_solution_is_what_follows_its_hashes(tmp_path, capsys):
    rows = [
        {"gold": "48/2 = <<48/2=24>>24\n#### 72", "prediction": "That is 3 boxes. The answer is 72."},
        {"gold": "48/2 = <<48/2=24>>24\n#### 1,072", "prediction": r"\boxed{1072}"},
        {"gold": "#### 72", "prediction": "#### 72\n\nQuestion: And then?\n#### 24"},
        {"gold": "first 24\n#### 72", "prediction": "The answer is 24."},
    ]
    statuses = Counter(correct=3, wrong=1)
    assert grade_file(io.StringIO(lines(rows))).statuses == statuses
    assert grade_file(io.StringIO(lines(rows)), profile="strict").statuses == Counter(correct=1, no_box=3)


def test_what_is_known_to_be_published_wrong_is_told_beside_the_accuracy(tmp_path, capsys):
    rows = [
        {"question": ERIN, "gold": "#### 18", "prediction": "#### 10"},
        {"question": "1+1?", "gold": "#### 2", "prediction": "#### 2"},
    ]
    file = tmp_path / "rows.jsonl"
    file.write_text(lines(rows))
    assert main([str(file)]) == 0
    told = capsys.readouterr().err
    assert "accuracy 0.5000" in told and "Erin had 10" in told
    assert "accuracy 1.0000 without the 1 rows whose published answer is known to be wrong" in told
    file.write_text(lines(rows[1:]))
    main([str(file)])
    assert "known" not in capsys.readouterr().err


def test_both_profiles_tell_the_same_as_each_of_them_alone(tmp_path, capsys):
    rows = tmp_path / "rows.jsonl"
    percent = {"gold": "18", "prediction": "18\\%", "expected": True, "expected_strict": False, "source": "own"}
    rows.write_text(f"{json.dumps(percent)}\nno row\n")
    alone = []
    for profile in ("strict", "lenient"):
        assert main([str(rows), "--profile", profile, "--expected"]) == 1
        alone.append(capsys.readouterr())
    assert "accuracy 0.0000" in alone[0].err and "accuracy 1.0000" in alone[1].err
    assert main([str(rows), "--profile", "both", "--expected"]) == 1
    both = capsys.readouterr()
    assert both.out == alone[0].out + alone[1].out
    assert all(line in both.err.splitlines() for one in alone for line in one.err.splitlines())
