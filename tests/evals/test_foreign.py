"""Files of other evaluation programs: read where every sample's score is there, compared with their like alone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from evals.__main__ import main
from evals.compare import ComparisonError, compare_results
from evals.foreign import load_foreign
from reasoning_pipeline.errors import DataError


def harness(folder: Path, right: set[int], *, temperature: float = 0.0, n: int = 10, **changes: Any) -> Path:
    """What `lm_eval --log_samples` writes for gsm8k: a row for each of two filters."""
    folder.mkdir(parents=True)
    rows = []
    for number in range(n):
        for name in ("strict-match", "flexible-extract"):
            ok = number in right and (name == "flexible-extract" or number % 2 == 0)
            rows.append({
                "doc_id": number, "doc": {"question": f"{number}?"}, "target": str(number),
                "arguments": {"gen_args_0": {"arg_0": f"Question: {number}?", "arg_1": {"temperature": temperature}}},
                "resps": [[f"#### {number}"]], "filtered_resps": [str(number)], "filter": name,
                "metrics": ["exact_match"], "doc_hash": f"d{number}", "prompt_hash": f"p{number}",
                "exact_match": float(ok), **changes,
            })  # fmt: skip
    path = folder / "samples_gsm8k_2026-11-28T10-00-00.000000.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "results_2026-11-28T10-00-00.000000.json").write_text(json.dumps({"model_name": f"my/{folder.name}"}))
    return path


def test_two_files_of_the_harness_problem_by_problem(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    one, other = harness(tmp_path / "a", {0, 1, 2}), harness(tmp_path / "b", {0, 1, 2, 3, 4, 5, 6})
    found = {line.suite: line for line in compare_results([load_foreign(one), load_foreign(other)])}
    flexible = found["gsm8k:flexible-extract,exact_match"]
    assert (flexible.a, flexible.b, flexible.mean_a, flexible.mean_b) == ("my/a", "my/b", 0.3, 0.7)
    assert (flexible.paired.won, flexible.paired.lost, flexible.paired.tied) == (4, 0, 6)
    assert found["gsm8k:strict-match,exact_match"].mean_b == 0.4  # 0, 2, 4, 6
    assert main(["compare", str(one), str(other)]) == 0
    assert "my/a 30.0 → my/b 70.0" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"temperature": 1.0}, "decoding.arguments"),
        ({"n": 9}, "data.digest"),
        ({"prompt_hash": "another"}, "prompt.prompts"),
    ],
)
def test_what_was_asked_otherwise_is_refused(changes: dict[str, Any], named: str, tmp_path: Path):
    files = [harness(tmp_path / "a", {1}), harness(tmp_path / "b", {1}, **changes)]
    with pytest.raises(ComparisonError, match=named):
        compare_results([load_foreign(file) for file in files])


@pytest.mark.parametrize("form", ["new", "old"])
def test_details_of_lighteval(form: str, tmp_path: Path):
    from datasets import Dataset

    def details(name: str, right: int) -> Path:
        (tmp_path / name).mkdir()
        path = tmp_path / name / "details_lighteval|gsm8k|0_2026-11-28T10-00-00.000000.parquet"
        scores = [float(number < right) for number in range(8)]
        rows = [
            {"doc": {"query": f"{n}?"}, "metric": {"extractive_match": score}, "model_response": {"text": ["1"]}}
            if form == "new"
            else {"example": f"{n}?", "full_prompt": f"Q: {n}?", "metrics": {"extractive_match": score}}
            for n, score in enumerate(scores)
        ]
        Dataset.from_list(rows).to_parquet(path)
        return path

    (line,) = compare_results([load_foreign(details("a", 2)), load_foreign(details("b", 6))])
    assert line.suite == "lighteval|gsm8k|0:extractive_match"
    assert (line.a, line.mean_a, line.mean_b, line.paired.won) == ("a", 0.25, 0.75, 4)


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"question": "1?"}, "neither a sample of lm-evaluation-harness nor one of lighteval"),
        ({"doc_id": 0, "filtered_resps": ["1"]}, "no score"),
        ({"doc_id": 0, "filtered_resps": ["1"], "metrics": ["acc"], "acc": None}, r"no score \(metrics: acc\)"),
    ],
)
def test_a_file_without_scores_says_what_to_run(row: dict[str, Any], said: str, tmp_path: Path):
    path = tmp_path / "samples_x_2026-11-28T10-00-00.jsonl"
    path.write_text(json.dumps(row) + "\n")
    with pytest.raises(DataError, match=said):
        load_foreign(path)
    path.write_text("")
    with pytest.raises(DataError, match="no samples"):
        load_foreign(path)


def test_a_problem_that_stands_twice_is_refused(tmp_path: Path):
    with pytest.raises(DataError, match="the same problem as before"):
        load_foreign(harness(tmp_path / "a", {1}, doc_hash="d0"))
