"""Resuming inside a step, on the CPU with the transformers engine: bit for bit what an uninterrupted step publishes."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from reasoning_pipeline.data import arithmetic
from reasoning_pipeline.data.config import PromptConfig
from reasoning_pipeline.data.prompts import PromptRenderer
from reasoning_pipeline.hardware.profile import HardwareProfile
from reasoning_pipeline.models.loading import load_model
from reasoning_pipeline.recipe.workflows import stage_module
from reasoning_pipeline.records import Verdict
from reasoning_pipeline.run.context import StageContext, StageOutcome
from reasoning_pipeline.training import resume
from tests.training.test_trl_bridge import weights, write_rollouts

GROUPS = {"spends": "first", "problems_per_step": 2, "group_size": 4, "max_completion_tokens": 12}
UPDATES: dict[str, Any] = {"policy": "p", "steps": 6, "save_every": 2, "learning_rate": 1e-2}
STAGES: dict[str, dict[str, Any]] = {
    "pretrain": {"clean_steps": 4, "noisy_steps": 2, "save_every": 2, "batch": 4},
    "sparse_grpo": {**UPDATES, **GROUPS, "schedule": "cosine", "warmup_ratio": 0.2},
    "extra_rl": {**UPDATES, **GROUPS, "kl_coefficient": 0.1},
    "forward_kl_warmup": {**UPDATES, "teacher": "t", "rollouts": "r", "rollouts_per_step": 4},
    "on_policy_distillation": {
        **UPDATES, "teacher": "t", "prompts": "first", "rollouts_per_step": 8, "max_completion_tokens": 12,
    },
    "teacher_sft": {**UPDATES, "rollouts": "r", "rollouts_per_step": 4},
}  # fmt: skip


class Killed(BaseException):
    """Stands for SIGKILL: nothing of ours catches it."""


class DigitVerifier:
    """Right where a completion holds an even number of digits: a random model earns mixed groups, so GRPO moves."""

    def judge(self, answers: list[str], completions: list[str], **_: Any) -> list[Verdict]:
        return [
            Verdict(status="correct" if even else "wrong", reward=float(even), extracted=text, rule="digits", seconds=0)
            for text in completions
            for even in [sum(map(text.count, "0123456789")) % 2 == 0]
        ]


def run_stage(
    kind: str, work: Path, inputs: dict[str, Path], *, die_after: int | None = None, precision: Any = "float32"
) -> StageOutcome:
    """Run a stage in this process; with `die_after` it dies when that many steps are done."""
    module = stage_module(kind)
    config = module.Config(seed=3, **STAGES[kind])
    context = StageContext(
        config=config,
        label="test-step",
        problems=arithmetic.problems("pool", 12),
        inputs=inputs,
        prompt=PromptConfig(),
        # Several passes for one optimizer step: a resume must not start in the middle of a generated batch.
        profile=HardwareProfile(engine="transformers", micro_batch=4, precision=precision),
        work=work,
    )
    if die_after is not None:
        asked = iter(range(1, 1000))

        def should_stop() -> bool:
            if next(asked) >= die_after:
                raise Killed
            return False

        context.should_stop = should_stop  # type: ignore[method-assign]
    outcome: StageOutcome = module.run(config, context)
    return outcome


@pytest.mark.slow
@pytest.mark.parametrize("kind", STAGES)
def test_a_killed_stage_ends_with_the_weights_of_an_uninterrupted_one(
    kind: str, tmp_path: Path, tiny_model: Path, other_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kill_and_resume(kind, tmp_path, {"policy": tiny_model, "teacher": other_model}, monkeypatch)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["sparse_grpo", "on_policy_distillation"])
def test_from_a_start_in_bfloat16_what_is_kept_and_published_is_float32(
    kind: str, tmp_path: Path, tiny_model: Path, other_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As most models on a hub are, trained in bfloat16: weights and moments hold what its eight bits cannot."""
    starts = {"policy": tmp_path / "policy", "teacher": tmp_path / "teacher"}
    for name, model in (("policy", tiny_model), ("teacher", other_model)):
        shutil.copytree(model, starts[name])
        load_model(model, dtype="bfloat16").save_pretrained(starts[name])
        assert {tensor.dtype for tensor in weights(starts[name]).values()} == {torch.bfloat16}
    published = kill_and_resume(kind, tmp_path, starts, monkeypatch, precision="bfloat16")
    learned = weights(published)
    assert {tensor.dtype for tensor in learned.values()} == {torch.float32}
    assert json.loads((published / "config.json").read_text())["dtype"] == "float32"
    assert all((tensor.bfloat16().float() != tensor).any() for tensor in learned.values()), "not a rounding"
    (point,) = (tmp_path / "parts" / "checkpoints").glob("checkpoint-*")
    assert {tensor.dtype for tensor in weights(point).values()} == {torch.float32}
    moments = torch.load(point / "optimizer.pt")["state"].values()
    held = [one[name] for one in moments for name in ("exp_avg", "exp_avg_sq")]
    assert {tensor.dtype for tensor in held} == {torch.float32}
    assert sum(tensor.nbytes for tensor in held) == 8 * sum(tensor.numel() for tensor in learned.values())


def kill_and_resume(
    kind: str, tmp_path: Path, models: dict[str, Path], monkeypatch: pytest.MonkeyPatch, *, precision: str = "float32"
) -> Path:
    """Dead twice and uninterrupted are the same to the bit; the folder that is published."""
    for judge in ("rewards.judge", "workflows.reasoning.reward"):
        monkeypatch.setattr(f"reasoning_pipeline.{judge}.shared_verifier", lambda profile: DigitVerifier())
    rollouts = write_rollouts(tmp_path / "rollouts", PromptRenderer.from_folder(models["policy"]), 8)
    inputs = {**models, "rollouts": rollouts}
    whole = run_stage(kind, tmp_path / "whole", inputs, precision=precision)

    parts = tmp_path / "parts"
    for steps in (3, 1):  # first two steps and one lost one; then, from step 2 on, dead again before anything is saved
        with pytest.raises(Killed):
            run_stage(kind, parts, inputs, die_after=steps, precision=precision)
    points = [path.name for path in (parts / "checkpoints").glob("checkpoint-*")]
    assert points == ["checkpoint-2"], "one point, the newest"
    resumed = run_stage(kind, parts, inputs, precision=precision)

    for name, tensor in weights(whole.folder).items():
        assert tensor.equal(weights(resumed.folder)[name]), name
    if kind != "pretrain":
        moved = max(
            float((weights(models["policy"])[name] - tensor).abs().max())
            for name, tensor in weights(whole.folder).items()
        )
        assert moved > 1e-3, "else equal weights would show nothing"
    assert [row["step"] for row in rows(parts)] == [1, 2, 3, 4, 5, 6], "no step stands twice in the metrics"
    for ours, theirs in zip(rows(parts), rows(tmp_path / "whole"), strict=True):
        assert comparable(ours) == comparable(theirs)
    assert comparable(resumed.result) == comparable(whole.result), "counts go on where the resume point stopped"
    return resumed.folder


@pytest.mark.slow
def test_a_warmup_ends_when_its_student_is_near_and_a_killed_one_at_the_same_step(
    tmp_path: Path, tiny_model: Path, other_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rollouts = write_rollouts(tmp_path / "rollouts", PromptRenderer.from_folder(tiny_model), 8)
    inputs = {"policy": tiny_model, "teacher": other_model, "rollouts": rollouts}
    looks = {"top_k": 4, "rollouts": 6, "after": 1, "check_every": 2}
    warmup = {**STAGES["forward_kl_warmup"], "steps": 40}

    monkeypatch.setitem(STAGES, "forward_kl_warmup", {**warmup, "until": {"reverse_kl": 1e-9, **looks}})
    far = run_stage("forward_kl_warmup", tmp_path / "far", inputs).result
    kls = {check["step"]: check["reverse_kl"] for check in far["until"]["checks"]}
    assert far["steps"] == 40 and not far["until"]["held"], "the budget ends what never comes near"
    assert list(kls) == list(range(1, 41, 2))
    # Half of what there is to gain: so that it is reached somewhere in the middle.
    threshold = (kls[1] + min(kls.values())) / 2
    expected = next(step for step, kl in kls.items() if kl <= threshold)

    monkeypatch.setitem(STAGES, "forward_kl_warmup", {**warmup, "until": {"reverse_kl": threshold, **looks}})
    whole = run_stage("forward_kl_warmup", tmp_path / "whole", inputs)
    assert (whole.result["steps"], whole.result["until"]["held"]) == (expected, True)
    parts = tmp_path / "parts"
    with pytest.raises(Killed):
        run_stage("forward_kl_warmup", parts, inputs, die_after=expected - 1)
    resumed = run_stage("forward_kl_warmup", parts, inputs)
    assert resumed.result["until"] == whole.result["until"]
    for name, tensor in weights(whole.folder).items():
        assert tensor.equal(weights(resumed.folder)[name]), name


def rows(work: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (work / "metrics.jsonl").read_text().splitlines()]


def comparable(values: dict[str, Any]) -> dict[str, Any]:
    """Everything but what a clock says."""
    return {name: value for name, value in values.items() if "seconds" not in name and name != "tokens_per_s"}


def a_point(folder: Path, *, marked: bool = True) -> Path:
    folder.mkdir(parents=True)
    (folder / "model.safetensors").write_bytes(b"weights")
    if marked:
        resume.complete(folder)
    return folder


def test_a_point_without_its_marker_is_removed_and_the_one_before_it_counts(tmp_path: Path) -> None:
    whole, torn = a_point(tmp_path / "checkpoint-5"), a_point(tmp_path / "checkpoint-10", marked=False)
    assert resume.last_complete(tmp_path) == whole
    assert not torn.exists()


def test_older_points_go_only_when_the_new_one_is_on_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    older, newer = a_point(tmp_path / "checkpoint-9"), a_point(tmp_path / "checkpoint-10", marked=False)
    synced: list[str] = []

    def refusing(path: Path) -> None:
        if path.name == resume.COMPLETE:
            raise OSError(28, "No space left on device")
        synced.append(path.name)

    with monkeypatch.context() as patch:
        patch.setattr(resume, "sync", refusing)
        with pytest.raises(OSError, match="No space left"):
            resume.complete(newer)
    assert "model.safetensors" in synced
    assert resume.last_complete(tmp_path / "nowhere") is None and older.is_dir()

    resume.complete(newer)
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint-10"]


def test_what_processes_generated_that_are_no_more_counts_for_the_first(tmp_path: Path) -> None:
    for rank, tokens in enumerate((100, 20, 3)):
        resume.save_own_state(tmp_path, rank, {"tokens_generated": tokens, "verdicts": {"correct": rank}})
    alone = resume.own_state(tmp_path, 0, processes=1)
    assert alone == {"tokens_generated": 123, "verdicts": {"correct": 0}}
    assert [resume.own_state(tmp_path, rank, processes=2).get("tokens_generated") for rank in range(2)] == [103, 20]
    assert resume.own_state(tmp_path, 3, processes=4) == {}, "a new one begins with nothing"
