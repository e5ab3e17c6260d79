"""A suite of one's own: its rows under other names, judged by a reward of its own, in an evaluation and in a recipe."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from evals.regrade import regrade
from evals.run import evaluate
from reasoning_pipeline.data.prompts import PromptRenderer
from reasoning_pipeline.data.suites.loading import Suite, load_suite
from reasoning_pipeline.errors import DataError, RecipeError
from reasoning_pipeline.records import Decoding
from reasoning_pipeline.rollouts.clients.scripted import ScriptedSampler
from tests.bench import Bench

HALF = (
    "def half(texts, columns, finishes):\n    return [1.0 if t == c else 0.5 for t, c in zip(texts, columns['hint'])]\n"
)


def write_suite(folder: Path, reward: str = "half.py:half") -> Path:
    folder.mkdir(exist_ok=True)
    with (folder / "capitals.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerows([["ask", "say", "hint"], ["France?", "Paris", "P"], ["Italy?", "Rome", "R"]])
    (folder / "half.py").write_text(HALF)
    path = folder / "capitals.yaml"
    path.write_text(
        "title: Capitals\nfile: capitals.csv\n"
        f"columns: {{question: ask, answer: say, meta: {{hint: hint}}}}\nreward: {reward}\n"
    )
    return path


def run(suite: Suite, renderer: PromptRenderer, out: Path, answer: str) -> tuple[float, int]:
    decoding = Decoding(max_tokens=100, seed=0)
    sampler = ScriptedSampler(lambda ids, sample: answer, renderer)
    result = evaluate(
        suites=[suite], renderer=renderer, sampler=sampler, decoding=decoding, samples=1, out=out, checkpoint="c"
    )
    score = result.summaries["capitals"].score
    assert score is not None
    return score.mean, len(sampler.requests)


def test_its_reward_judges_and_what_it_reads_may_not_change_under_a_run(
    tmp_path: Path, renderer: PromptRenderer
) -> None:
    path = write_suite(tmp_path / "suite")
    assert run(load_suite(str(path)), renderer, tmp_path / "out", "P") == (0.75, 2)
    assert run(load_suite(str(path)), renderer, tmp_path / "out", "P") == (0.75, 0), "nothing is drawn twice"
    assert regrade(tmp_path / "out") == (2, [])
    (tmp_path / "suite" / "half.py").write_text(HALF.replace("0.5", "0.25"))
    with pytest.raises(DataError, match=r"reward\.files\.half"):
        run(load_suite(str(path)), renderer, tmp_path / "out", "P")
    count, changes = regrade(tmp_path / "out", write=True)
    assert count == 2 and not changes, "half right was and is wrong"


def test_an_exact_suite(tmp_path: Path, renderer: PromptRenderer) -> None:
    path = write_suite(tmp_path / "suite", "{kind: exact, where: text}")
    assert run(load_suite(str(path)), renderer, tmp_path / "out", "Rome")[0] == 0.5


def test_in_a_recipe_all_its_files_are_the_evaluations_identity(bench: Bench) -> None:
    write_suite(bench.folder / "suites")

    def fingerprint() -> str:
        plan = bench.plan(lambda r: r["evaluate"].update(suites=["suites/capitals.yaml"]))
        return plan.step("polish.evaluate").fingerprint

    before = [fingerprint()]
    for name, old, new in (
        ("capitals.csv", "Rome", "Roma"),
        ("half.py", "0.5", "0.4"),
        ("capitals.yaml", "Cap", "cap"),
    ):
        file = bench.folder / "suites" / name
        file.write_text(file.read_text().replace(old, new))
        before.append(fingerprint())
    assert len(set(before)) == 4


def test_mistakes_of_a_suite_are_told_when_the_recipe_is_read(bench: Bench) -> None:
    path = write_suite(bench.folder / "suites", "half.py:halve")
    change = [lambda r: r["evaluate"].update(suites=["suites/capitals.yaml"])]
    with pytest.raises(RecipeError, match=r'capitals.yaml: reward: half.py defines no \'halve\'; did you mean "half"'):
        bench.plan(*change)
    path.write_text("titel: x\nfile: capitals.csv\n")
    with pytest.raises(RecipeError, match=r'titel: unknown key; did you mean "title"'):
        bench.plan(*change)
    write_suite(bench.folder / "suites")
    (bench.folder / "suites" / "capitals.csv").unlink()
    with pytest.raises((RecipeError, DataError), match=r"capitals\.csv"):
        bench.plan(*change)
