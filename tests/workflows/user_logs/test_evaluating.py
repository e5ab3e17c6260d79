"""Answers scored by a model that saw no rule: what is asked of it, and what it could not score."""

from __future__ import annotations

import json
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from evals.cli import main
from reasoning_pipeline.data.config import PromptConfig
from reasoning_pipeline.data.prompts import PromptRenderer
from reasoning_pipeline.errors import DataError, IncompatibleModels
from reasoning_pipeline.recipe.workflows import stage_module
from reasoning_pipeline.registry.resolve import ResolvedModel
from reasoning_pipeline.rollouts.clients.scripted import ScriptedSampler
from reasoning_pipeline.workflows.user_logs import logs
from reasoning_pipeline.workflows.user_logs.evaluation import ask, evaluated
from reasoning_pipeline.workflows.user_logs.scoring import Scoring
from tests.workflows.user_logs.test_system import ADVISED, FAR, NEAR, opened, published  # noqa: F401

HUB = {"id": "THUIR/MemoryBench", "subsets": ("A", "B"), "split": "test"}


def test_a_judges_scores_become_shares_and_absence_is_not_zero(opened, tmp_path: Path):  # noqa: F811
    asked: list[Any] = []

    def referee(answers):
        asked.extend(answers)
        return [10.0, 1.0, None]

    queries = [
        {"id": f"A/{n}", "query": query, "language": "small", "kind": "A"}
        for n, query in enumerate((NEAR, ADVISED, FAR))
    ]
    answered = ask(*opened, queries, 0)
    found = evaluated(answered, referee, tokens=0)
    assert [(query, rules) for query, rules, _, _ in asked] == [(NEAR, ()), (ADVISED, ()), (FAR, ())]
    suite = found.figures["suites"]["user_logs"]
    assert (suite["accuracy"], suite["problems"], found.figures["unscored"]) == (0.5, 2, 1)
    found.save(tmp_path)
    assert (tmp_path / "user_logs/problems.csv").read_text() == "problem,mean\nA/0,1.0\nA/1,0.0\n"
    assert [row["status"] for row in found.rows] == ["correct", "wrong", "unscored"]
    with pytest.raises(DataError, match="of 3 answers none could be scored"):
        evaluated(answered, lambda answers: [None] * 3, tokens=0)


def test_queries_of_the_hub_are_read_without_anything_else(monkeypatch: pytest.MonkeyPatch):
    def rows(name: str, subset: str, split: str, revision: str | None):
        for number in range(3):
            turns = [{"role": "system", "content": "s"}, {"role": "user", "content": "案"}]
            asked = {"input_prompt": f"q{number}"} if subset == "A" else {"input_chat_messages": str(turns)}
            row = {"dataset_name": subset, "test_idx": number, "lang": "zh" if subset == "B" else "en", "info": "{}"}
            yield f"{name}[{number}]", {**row, **asked}

    monkeypatch.setattr(logs, "hub_rows", rows)
    asked = Scoring(hub=HUB, count=2)
    found = asked.queries()
    assert [row["id"] for row in found] == ["A/0", "A/1", "B/0", "B/1"]
    assert (found[0]["query"], found[0]["language"]) == ("q0", "en")
    assert (found[2]["query"], found[2]["language"]) == ("system: s\n\n案", "zh")
    monkeypatch.setattr(logs, "hub_rows", lambda *_: iter([("x", {"dataset_name": "A", "input_prompt": " "})]))
    with pytest.raises(DataError, match=r"MemoryBench/A\[0\]: no query"):
        asked.queries()


def test_queries_of_the_hub_need_a_judge():
    config = stage_module("evaluate_system").Config
    with pytest.raises(ValueError, match="`hub` needs `judge`"):
        config(checkpoint="step:uno", hub=HUB)
    judged = config(checkpoint="step:uno", hub=HUB, judge="Qwen/Qwen3-14B")
    assert judged.generator == "judge" and config(checkpoint="step:uno").generator is None


def test_a_file_of_ones_own_may_be_scored_by_a_judge_in_a_recipe_too():
    config = stage_module("evaluate_system").Config
    assert config(checkpoint="step:uno", file="tasks.jsonl", judge="Qwen/Qwen3-14B").generator == "judge"
    with pytest.raises(ValueError, match="`judge` needs `file` or `hub`"):
        config(checkpoint="step:uno", judge="Qwen/Qwen3-14B")


def tasks(folder: Path, *rows: object) -> Path:
    path = folder / "tasks.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


BRIEF = {"id": "a", "query": NEAR, "language": "small", "kind": "sums", "checks": ["one_sentence", "bullets"]}
UNCHECKED = {"dataset_name": "Sums", "test_idx": 3, "lang": "en", "input_prompt": ADVISED}


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ([1], "tasks.jsonl:1: expected an object, found list"),
        ({"id": "a", "query": " "}, "tasks.jsonl:1: no query"),
        ({"query": "q"}, "tasks.jsonl:1: no id"),
        (BRIEF, "tasks.jsonl:2: id 'a' stands twice"),
        ({"id": "b", "query": "q"}, "tasks.jsonl:2: checks: none"),
        ({"id": "b", "query": "q", "checks": ["brief"]}, "tasks.jsonl:2: checks: unknown 'brief'"),
    ],
)
def test_a_row_that_cannot_be_asked_or_scored_is_named(tmp_path: Path, row: object, said: str):
    rows = (row,) if ":1:" in said else (BRIEF, row)
    with pytest.raises(DataError, match=said):
        Scoring(file=str(tasks(tmp_path, *rows))).queries()


def test_a_file_with_nothing_in_it_and_none_at_all_are_told(tmp_path: Path):
    for path, said in ((tasks(tmp_path), "tasks.jsonl: no query"), (tmp_path / "none.jsonl", "no such file")):
        with pytest.raises(DataError, match=said):
            Scoring(file=str(path)).queries()


def evals(published: Path, out: Path, *options: object) -> dict[str, Any]:  # noqa: F811
    """What `python -m evals` leaves of a system that a registry holds."""
    assert main([str(published), "--suite", "user_logs", "--hardware", "cpu_transformers", "--out", str(out),
                 *map(str, options)]) == 0  # fmt: skip
    found: dict[str, Any] = json.loads((out / "user_logs.json").read_text())
    return found


@pytest.fixture
def recorded(published: Path, monkeypatch: pytest.MonkeyPatch) -> Path:  # noqa: F811
    model = ResolvedModel(folder=published, name="uno (choose_modules-1)", fingerprint="f", prompt=PromptConfig())
    monkeypatch.setattr("reasoning_pipeline.registry.resolve.resolve_model", lambda *_, **__: model)
    return published


def test_evals_asks_a_file_of_ones_own(recorded: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    file = tasks(tmp_path, BRIEF, {**BRIEF, "id": "b", "query": ADVISED}, {**BRIEF, "id": "c"})
    found = evals(recorded, tmp_path / "out", "--data", file, "--limit", "2")
    assert found["suites"]["user_logs"]["problems"] == 2 and found["by_kind"].keys() == {"sums"}
    assert found["scored_by"].startswith("programs") and found["paths"] == {"primary": 0.5, "reflective": 0.5}
    assert "of 2 queries; primary 50%" in capsys.readouterr().out
    samples = [json.loads(line) for line in (tmp_path / "out/user_logs/samples.jsonl").read_text().splitlines()]
    assert [row["problem_id"] for row in samples] == ["a", "b"]


def test_evals_takes_the_judge_that_a_recipe_names(recorded: Path, tmp_path: Path, tiny_model: Path, monkeypatch):
    started = []

    @contextmanager
    def session(folder: Path, **values: Any):
        started.append((folder, values["max_model_len"]))
        renderer = PromptRenderer.from_folder(folder, PromptConfig())
        yield ScriptedSampler(lambda ids, sample: '{"reason": "", "score": 7}', renderer)

    monkeypatch.setattr("reasoning_pipeline.rollouts.session.rollout_session", session)
    scoring = {"hub": HUB, "judge": str(tiny_model), "judging": {"samples": 1, "max_tokens": 60}}
    steps = {"logs": {"stage": "read_logs", "file": "logs.jsonl"}}
    recipe = tmp_path / "mine.yaml"
    recipe.write_text(json.dumps({"name": "mine", "seed": 0, "steps": steps, "score_systems": scoring}))
    file = tasks(tmp_path, {**UNCHECKED, "input_prompt": "1"})
    system = json.loads((recorded / "system.json").read_text())
    system["thresholds"]["max_prompt_tokens"] = 100
    (recorded / "system.json").write_text(json.dumps(system))
    found = evals(recorded, tmp_path / "out", "--data", file, "--recipe", recipe)
    assert found["suites"]["user_logs"]["accuracy"] == pytest.approx(6 / 9)
    assert found["scored_by"] == "a model that saw no rule" and found["by_kind"].keys() == {"Sums"}
    assert started == [(tiny_model, 2 * 100 + 1024 + 60)]
    with pytest.raises(DataError, match="checks: none"):
        evals(recorded, tmp_path / "out", "--data", file)


def test_evals_says_what_it_does_not_take(recorded: Path, tmp_path: Path):
    with pytest.raises(DataError, match="--samples, --top-p: --suite user_logs does not take it"):
        evals(recorded, tmp_path, "--samples", "2", "--top-p", "0.5")
    with pytest.raises(DataError, match="no benchmark takes it"):
        main(["base", "--suite", "aime24", "--recipe", "mine.yaml"])
    recipe = tmp_path / "mine.yaml"
    recipe.write_text(json.dumps({"name": "m", "seed": 0, "steps": {"l": {"stage": "read_logs", "file": "l.jsonl"}}}))
    with pytest.raises(DataError, match="it has no `score_systems`"):
        evals(recorded, tmp_path, "--recipe", recipe)
    values = json.loads((recorded / "system.json").read_text())
    (recorded / "system.json").write_text(json.dumps({**values, "language": "zh"}))
    with pytest.raises(DataError, match="learned from logs in 'zh'"):
        evals(recorded, tmp_path)


def test_evals_asks_nothing_of_an_adapter_of_another_base(recorded: Path, tmp_path: Path):
    config = recorded / "adapters/critic-1/adapter_config.json"
    config.write_text(config.read_text().replace('"tiny"', '"another"'))
    with pytest.raises(IncompatibleModels, match="was made for another, not for tiny"):
        evals(recorded, tmp_path / "out", "--data", tasks(tmp_path, BRIEF))
