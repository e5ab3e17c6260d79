"""`compare`: like with like, problem by problem."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from evals import results
from evals.__main__ import main
from evals.compare import ComparisonError, compare_results
from evals.run import evaluate
from reasoning_pipeline.data.config import PromptConfig
from reasoning_pipeline.data.prompts import PromptRenderer
from reasoning_pipeline.data.suites.loading import load_suite
from reasoning_pipeline.rollouts.clients.scripted import ScriptedSampler

N = 40


@pytest.fixture
def run(write_rows, renderer, decoding, tmp_path: Path):
    """run("name", right=30) evaluates 40 problems of which the first `right` are solved, and returns the folder."""
    rows = [{"unique_id": f"p{i}", "problem": f"What is {i}?", "answer": str(i)} for i in range(N)]
    suite = load_suite(str(write_rows(rows)))

    def evaluated(name: str, right: int, *, renderer=renderer, decoding=decoding, limit: int | None = None) -> Path:
        answers = {
            tuple(renderer.prompt_ids(p.question)): p.answer if i < right else "no"
            for i, p in enumerate(suite.problems)
        }
        evaluate(
            suites=[suite.limited(limit)],
            renderer=renderer,
            sampler=ScriptedSampler(lambda ids, sample: f"\\boxed{{{answers[tuple(ids)]}}}", renderer),
            decoding=decoding,
            samples=1,
            out=tmp_path / name,
            checkpoint=name,
        )
        return tmp_path / name

    return evaluated


def test_the_difference_is_as_constructed_and_corrected_for_two_candidates(run):
    # 20 of 40 against 34 and 22: 14 and 2 problems won, none lost; exact p of 2 flips is 2 * (1/4) = 1/2
    runs = [results.load(run(name, right)) for name, right in (("base", 20), ("good", 34), ("same", 22))]
    good, same = compare_results(runs)
    assert (good.mean_a, good.mean_b) == (0.5, 0.85)
    assert good.paired.difference == pytest.approx(14 / 40)
    assert (good.paired.won, good.paired.lost, good.paired.tied) == (14, 0, 26)
    assert good.paired.low > 0
    assert same.paired.p == 0.5
    assert same.paired.p_holm == 0.5
    assert good.paired.p_holm == pytest.approx(2 * good.paired.p)


def test_runs_that_were_not_asked_alike_are_refused_and_the_difference_named(run, decoding, model_folder, capsys):
    base = run("base", 20)
    others = {
        "decoding.temperature: 1.0 and 0.6": run("warm", 20, decoding=replace(decoding, temperature=0.6)),
        "prompt.thinking: false and true": run(
            "thinks", 0, renderer=PromptRenderer.from_folder(model_folder, PromptConfig(thinking=True))
        ),
        "problems: 40 and 10": run("few", 10, limit=10),
    }
    for message, other in others.items():
        assert main(["compare", str(base), str(other)]) == 2
        assert message in capsys.readouterr().err
    assert main(["compare", str(base), str(run("seeded", 20, decoding=replace(decoding, seed=99)))]) == 0


def test_a_run_without_the_suite_or_without_an_end(run, tmp_path, capsys):
    base, other = run("base", 20), run("other", 20)
    with pytest.raises(ComparisonError, match="not every run has the suite math500"):
        compare_results([results.load(base), results.load(other)], ["math500"])
    (other / "small" / "summary.json").unlink()
    assert main(["compare", str(base), str(other)]) == 2
    assert "small was not evaluated to its end" in capsys.readouterr().err
    assert main(["compare", str(base), str(tmp_path / "nowhere")]) == 2
    assert "no evaluation here" in capsys.readouterr().err
    with pytest.raises(SystemExit, match="2"):
        main(["compare", str(base)])
