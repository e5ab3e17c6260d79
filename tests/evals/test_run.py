"""`evaluate`: what is stored, that a kill loses nothing, that a seed is a seed, and that results come out as built."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from evals import results
from evals.cli import table
from evals.regrade import regrade
from evals.results import load
from evals.run import evaluate, only_writer
from evals.samples import SampleFile, sample_seed
from reasoning_pipeline.data.config import PromptConfig
from reasoning_pipeline.data.prompts import PromptRenderer
from reasoning_pipeline.data.suites.loading import Suite, load_suite
from reasoning_pipeline.errors import DataError, ServerLost
from reasoning_pipeline.records import Decoding
from reasoning_pipeline.rollouts.clients.completions import GenerationRequest
from reasoning_pipeline.rollouts.clients.scripted import ScriptedSampler


def boxed(answer: object) -> str:
    return f"So it is \\boxed{{{answer}}}."


class Seeded(ScriptedSampler):
    """Writes its seed, as a stand-in for randomness; fails after some samples, as a stand-in for a crash."""

    def __init__(self, renderer: PromptRenderer, dies_after: int | None = None) -> None:
        super().__init__(lambda ids, sample: "", renderer)
        self.dies_after = dies_after

    def answer(self, request: GenerationRequest, sample: int) -> str:
        if self.dies_after is not None and len(self.requests) > self.dies_after:
            raise ServerLost("the server went away")
        return boxed(request.seed % 3 + 10)


def texts(folder: Path) -> dict[tuple[str, int], str]:
    return {key: sample.text for key, sample in SampleFile(folder / "samples.jsonl", "lenient").read().items()}


def test_a_run_comes_out_as_constructed(small: Suite, renderer, decoding, tmp_path: Path):
    # 4 problems, 2 samples: p0 2/2, p1 1/2, p2 0/2, p3 0/2 (one without a box) -> 3/8
    script = {
        "p0": [boxed(10), boxed(10)],
        "p1": [boxed(11), boxed(7)],
        "p2": [boxed(1), boxed(2)],
        "p3": ["no idea", boxed(4)],
    }
    by_prompt = {tuple(renderer.prompt_ids(p.question)): script[p.id] for p in small.problems}
    sampler = ScriptedSampler(lambda ids, sample: by_prompt[tuple(ids)][sample], renderer)
    out = tmp_path / "out"
    seen = []
    result = evaluate(
        suites=[small], renderer=renderer, sampler=sampler, decoding=decoding, samples=2, out=out, checkpoint="c",
        progress=seen.append,
    )  # fmt: skip
    summary = result.summaries["small"]
    assert summary.score is not None
    assert summary.score.mean == 3 / 8
    assert summary.scores == {"p0": [1, 1], "p1": [1, 0], "p2": [0, 0], "p3": [0, 0]}
    assert summary.pass_at == {1: 3 / 8, 2: 1 / 2}
    # maj@2: p0 wins, p1 ties with one wrong answer (1/2), the others have no right answer
    assert summary.maj_at[2] == (1 + 1 / 2) / 4
    assert summary.statuses == {"wrong": 4, "correct": 3, "no_box": 1}
    assert summary.shares["no_answer"] == 1 / 8
    assert {value: cell.mean for value, cell in summary.groups["level"].items()} == {"1": 1 / 2, "2": 1 / 4}
    assert [(so_far.done, so_far.total) for so_far in seen] == [(done, 8) for done in range(1, 9)]
    assert (seen[-1].right, seen[-1].found) == (3, 0)
    first = json.loads((out / "small" / "samples.jsonl").read_text().split("\n")[0])
    assert first["text"] == boxed(10)
    assert first["tokens"] == len(boxed(10)) + 1  # bytes, and the end token
    assert first["status"] == first["strict"]["status"] == first["lenient"]["status"] == "correct"
    assert summary.settings["first_prompt"] == "<|user|>What is 0 + 10?\nBox the answer.<|end|><|assistant|>"
    assert results.load(out).summaries["small"] == summary


def test_a_killed_run_continues_without_sampling_anything_twice(small: Suite, renderer, decoding, tmp_path: Path):
    def run(sampler: ScriptedSampler, out: Path, samples: int = 3) -> None:
        evaluate(
            suites=[small], renderer=renderer, sampler=sampler, decoding=decoding, samples=samples, out=out,
            checkpoint="c",
        )  # fmt: skip

    whole, broken = tmp_path / "whole", tmp_path / "broken"
    run(Seeded(renderer), whole)
    with pytest.raises(ServerLost):
        run(Seeded(renderer, dies_after=5), broken)
    assert len(texts(broken / "small")) == 5
    path = broken / "small" / "samples.jsonl"
    path.write_bytes(path.read_bytes()[:-20])  # a kill tears the last line
    assert len(texts(broken / "small")) == 4
    second = Seeded(renderer)
    run(second, broken)
    assert len(second.requests) == 12 - 4
    assert texts(broken / "small") == texts(whole / "small")
    third = Seeded(renderer)
    run(third, broken)
    assert third.requests == []
    run(third, broken, samples=4)  # more samples: only the new ones
    assert len(third.requests) == 4
    run(third, broken, samples=2)  # fewer: the first two of each, nothing sampled
    assert len(third.requests) == 4
    assert results.load(broken).summaries["small"].samples == 2


def test_the_same_seed_gives_the_same_samples_in_any_order(small: Suite, renderer, decoding, tmp_path: Path):
    reversed_suite = small.limited(4).__class__(**{**small.__dict__, "problems": small.problems[::-1]})
    for name, suite in (("a", small), ("b", reversed_suite)):
        evaluate(
            suites=[suite], renderer=renderer, sampler=Seeded(renderer), decoding=decoding, samples=2,
            out=tmp_path / name, checkpoint="c",
        )  # fmt: skip
    assert texts(tmp_path / "a" / "small") == texts(tmp_path / "b" / "small")
    seeds = {sample_seed(7, "s", p, i) for p in ("a", "b") for i in range(50)} | {sample_seed(8, "s", "a", 0)}
    assert len(seeds) == 101


def test_a_long_evaluation_is_asked_in_waves(small: Suite, renderer, decoding, tmp_path: Path, monkeypatch):
    from evals import run

    monkeypatch.setattr(run, "LEAST_WAVE", 3)
    monkeypatch.setattr(run, "WAVE_TOKENS", 0)
    waves = []

    class Waves(Seeded):
        def generate(self, requests, decoding, *, stop_ids, on_result=None):
            waves.append(len(requests))
            return super().generate(requests, decoding, stop_ids=stop_ids, on_result=on_result)

    for name, sampler in (("waves", Waves(renderer)), ("whole", Seeded(renderer))):
        evaluate(
            suites=[small], renderer=renderer, sampler=sampler, decoding=decoding, samples=2, out=tmp_path / name,
            checkpoint="c",
        )  # fmt: skip
        monkeypatch.undo()
    assert waves == [3, 3, 2]
    assert texts(tmp_path / "waves" / "small") == texts(tmp_path / "whole" / "small")


def test_other_settings_are_not_mixed_into_a_run(small: Suite, renderer, decoding, tmp_path: Path):
    def run(decoding: Decoding, checkpoint: str = "c") -> None:
        evaluate(
            suites=[small], renderer=renderer, sampler=Seeded(renderer), decoding=decoding, samples=1,
            out=tmp_path / "o", checkpoint=checkpoint,
        )  # fmt: skip

    run(decoding)
    with pytest.raises(DataError, match=r"decoding.temperature: 1.0 and 0.5"):
        run(Decoding(temperature=0.5, max_tokens=4_000, seed=7))
    with pytest.raises(DataError, match=r"checkpoint: c and d"):
        run(decoding, "d")


def test_a_box_inside_thinking_that_the_template_opened_is_no_answer(small: Suite, model_folder, decoding, tmp_path):
    renderer = PromptRenderer.from_folder(model_folder, PromptConfig(thinking=True))
    answers = [boxed(10), "hm</think>" + boxed(10)]
    sampler = ScriptedSampler(lambda ids, sample: answers[sample], renderer)
    result = evaluate(
        suites=[small.limited(1)], renderer=renderer, sampler=sampler, decoding=decoding, samples=2,
        out=tmp_path / "o", checkpoint="c",
    )  # fmt: skip
    assert result.summaries["small"].statuses == {"unfinished_thinking": 1, "correct": 1}
    assert result.summaries["small"].settings["opens_thinking"] is True


def test_a_truncated_answer_is_wrong_and_counted(small: Suite, renderer, tmp_path: Path):
    result = evaluate(
        suites=[small.limited(1)], renderer=renderer, sampler=ScriptedSampler(lambda ids, i: "x" * 50, renderer),
        decoding=Decoding(max_tokens=20), samples=1, out=tmp_path / "o", checkpoint="c",
    )  # fmt: skip
    summary = result.summaries["small"]
    assert summary.statuses == {"truncated": 1}
    assert summary.shares["truncated"] == 1.0
    assert summary.lengths["all"]["max"] == 20


@pytest.mark.parametrize("pinned", [True, False])
def test_suites_are_seeded_apart_and_aime_is_pooled(pinned, write_rows, renderer, decoding, tmp_path, monkeypatch):
    def aime(year: int) -> Suite:
        rows = [
            {"unique_id": f"{year}/{i}", "problem": f"Problem {i} of {year}?", "answer": f"{i:03}"}
            for i in range(1, 31)
        ]
        name = f"aime{year % 100}"
        return load_suite(name, data=write_rows(rows, f"{name}.jsonl"), allow_changed=True)

    suites = [aime(2024), aime(2025)]
    right = {tuple(renderer.prompt_ids(p.question)): p.answer for s in suites for p in s.problems}
    in_2025 = {tuple(renderer.prompt_ids(p.question)) for p in suites[1].problems}
    # 2024: every second sample right; 2025: never. Pooled 0.25 over 60 problems.
    sampler = ScriptedSampler(
        lambda ids, i: boxed(right[tuple(ids)]) if i % 2 == 0 and tuple(ids) not in in_2025 else boxed(999), renderer
    )
    if pinned:
        monkeypatch.setattr("evals.results.is_pinned", lambda name, digest, source: digest == digests[name])
    digests = {suite.name: suite.digest for suite in suites}
    result = evaluate(
        suites=suites, renderer=renderer, sampler=sampler, decoding=decoding, samples=2, out=tmp_path / "o",
        checkpoint="c",
    )  # fmt: skip
    assert result.summaries["aime24"].score.mean == 0.5
    assert suites[0].problems[0].answer == "1"  # distributed as 001
    if pinned:
        pooled = result.pooled["aime24+aime25"]
        assert (pooled.mean, pooled.problems) == (0.25, 60)
        assert "aime24+aime25" in (tmp_path / "o" / "summary.csv").read_text()
    else:  # other rows under these names are other benchmarks, and sixty of them no pool of AIME
        assert not result.pooled
        assert "is not the aime24 that was pinned" in result.not_pooled["aime24+aime25"]
        assert "aime24+aime25 not pooled" in table(result)
        assert "aime24+aime25 not pooled" in (tmp_path / "o" / "report.html").read_text()


def test_a_published_answer_known_to_be_wrong_is_left_out_beside_the_score(
    write_rows, renderer, decoding, tmp_path: Path, monkeypatch
):
    rows = [{"unique_id": f"p{i}", "problem": f"Problem {i}?", "answer": f"{i}"} for i in range(1, 5)]
    suite = replace(load_suite(str(write_rows(rows))), known_issues={"p1": "it is 7", "gone": "no such row"})
    # 1 of 4 wrong: the one whose published answer is known to be wrong
    right = {tuple(renderer.prompt_ids(p.question)): "7" if p.id == "p1" else p.answer for p in suite.problems}
    sampler = ScriptedSampler(lambda ids, i: boxed(right[tuple(ids)]), renderer)
    result = evaluate(
        suites=[suite], renderer=renderer, sampler=sampler, decoding=decoding, samples=1, out=tmp_path / "o",
        checkpoint="c",
    )  # fmt: skip
    (summary,) = load(tmp_path / "o").summaries.values()
    assert (summary.score.mean, summary.score_without_known_issues.mean) == (0.75, 1.0)
    assert summary.known_issues == {"p1": "it is 7"}
    assert "100.0 % without 1 known to be published wrong" in table(result)
    regrade(tmp_path / "o", write=True)
    (summary,) = load(tmp_path / "o").summaries.values()
    assert summary.score_without_known_issues.mean == 1.0


def test_what_the_judge_raises_reaches_the_caller(small: Suite, renderer, decoding, tmp_path: Path, monkeypatch):
    from reasoning_pipeline import verifier as rewards

    class Broken:
        def judge(self, references, texts, **rest):
            raise OSError("disk full")

    monkeypatch.setattr(rewards, "shared_verifier", lambda profile="strict": Broken())
    with pytest.raises(OSError, match="disk full"):
        evaluate(
            suites=[small], renderer=renderer, sampler=Seeded(renderer), decoding=decoding, samples=1,
            out=tmp_path / "o", checkpoint="c",
        )  # fmt: skip


def test_no_samples_no_suites(small: Suite, renderer, decoding, tmp_path: Path):
    def run(suites, samples):
        evaluate(
            suites=suites, renderer=renderer, sampler=Seeded(renderer), decoding=decoding, samples=samples,
            out=tmp_path / "o", checkpoint="c",
        )  # fmt: skip

    with pytest.raises(DataError, match="at least 1"):
        run([small], 0)
    with pytest.raises(DataError, match="no suite"):
        run([], 1)
    with pytest.raises(DataError, match="two suites are called small"):
        run([small, small], 1)


def test_two_evaluations_do_not_write_into_one_folder_and_a_killed_one_leaves_it(tmp_path: Path):
    code = (
        "import sys, time; from pathlib import Path; from evals.run import only_writer\n"
        "with only_writer(Path(sys.argv[1])): print('held', flush=True); time.sleep(60)"
    )
    other = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    try:
        assert other.stdout is not None and other.stdout.readline() == "held\n"
        with pytest.raises(DataError) as error, only_writer(tmp_path):
            pass
        # flock would hold as well on this disk, but on network file systems nobody back; who it is, it never says
        holder = f"process {other.pid} on {socket.gethostname()}"
        assert error.value.message == f"{tmp_path}: another evaluation is writing here ({holder})"
    finally:
        other.kill()
        other.wait()
    with only_writer(tmp_path):
        pass
    assert list(tmp_path.iterdir()) == []
