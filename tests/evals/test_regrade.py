"""`regrade`: stored answers meet another verifier."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from evals import results
from evals.__main__ import main
from evals.run import evaluate
from evals.samples import SampleFile
from reasoning_pipeline.records import Verdict
from reasoning_pipeline.rollouts.clients.scripted import ScriptedSampler


class Generous:
    """A verifier with whom everything is right."""

    def judge(self, references, texts, *, finishes=None, questions=None):
        return [Verdict(status="correct", reward=1.0, extracted="?", rule="generous", seconds=0.0) for _ in texts]


@pytest.fixture
def run(small, renderer, decoding, tmp_path: Path) -> Path:
    evaluate(
        suites=[small], renderer=renderer, sampler=ScriptedSampler(lambda ids, i: "\\boxed{10}", renderer),
        decoding=decoding, samples=2, out=tmp_path / "run", checkpoint="c",
    )  # fmt: skip
    return tmp_path / "run"


def test_the_same_verifier_changes_nothing(run: Path, capsys):
    assert main(["regrade", str(run)]) == 0
    assert "8 samples graded again, 0 verdicts changed" in capsys.readouterr().out


def test_another_verifier_shows_what_changes_and_writes_only_when_asked(run: Path, monkeypatch, capsys):
    from reasoning_pipeline import verifier as rewards

    monkeypatch.setattr(rewards, "shared_verifier", lambda profile="strict": Generous())
    monkeypatch.setattr(rewards, "verifier_versions", lambda: {"generous": "2"})
    before = (run / "small" / "samples.jsonl").read_bytes()
    assert main(["regrade", str(run)]) == 0
    shown = capsys.readouterr().out
    assert "6  small  lenient: wrong → correct" in shown
    assert "12 verdicts changed; nothing written" in shown
    assert (run / "small" / "samples.jsonl").read_bytes() == before
    assert results.load(run).summaries["small"].score.mean == 1 / 4

    assert main(["regrade", str(run), "--write"]) == 0
    summary = results.load(run).summaries["small"]
    assert summary.score.mean == 1.0
    assert summary.settings["verifier"] == {"generous": "2"}
    assert (run / "small" / "samples.before.jsonl").read_bytes() == before
    again = SampleFile(run / "small" / "samples.jsonl", "lenient").read()
    assert {sample.text for sample in again.values()} == {"\\boxed{10}"}
    assert json.loads((run / "small" / "settings.json").read_text())["verifier"] == {"generous": "2"}


def test_a_damaged_sample_names_its_line(run: Path, capsys):
    path = run / "small" / "samples.jsonl"
    lines = path.read_text().split("\n")
    path.write_text("\n".join([lines[0], "garbage", *lines[2:]]))
    assert main(["regrade", str(run)]) == 2
    assert "samples.jsonl line 2: not a sample" in capsys.readouterr().err
