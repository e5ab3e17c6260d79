"""What a training learns does not depend on how its rows are laid and divided, and nothing is computed for padding."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from reasoning_pipeline.data.prompts import PromptRenderer
from reasoning_pipeline.errors import PipelineError, Stopped
from reasoning_pipeline.hardware.profile import HardwareProfile
from reasoning_pipeline.run.context import StageContext
from reasoning_pipeline.run.metrics import read_metrics
from reasoning_pipeline.workflows.reasoning.stages import (
    forward_kl_warmup,
    on_policy_distillation,
    sparse_grpo,
    teacher_sft,
)
from tests.training.test_trl_bridge import context_for, stop_after, weights, write_rollouts

pytestmark = pytest.mark.slow

PASSES: dict[str, dict[str, int]] = {
    "one": {},
    "rows": {"micro_batch": 2},
    "tokens": {"tokens_per_micro_batch": 100},
}
COMMON = {"policy": "p", "seed": 3, "steps": 2, "learning_rate": 1e-3, "save_every": 50}
CONFIGS: dict[str, Any] = {
    "warmup": forward_kl_warmup.Config(teacher="t", rollouts="r", rollouts_per_step=8, **COMMON),
    "sft": teacher_sft.Config(rollouts="r", rollouts_per_step=8, **COMMON),
    "grpo": sparse_grpo.Config(
        spends="x", problems_per_step=2, group_size=4, loss="grpo", kl_coefficient=0.1, max_completion_tokens=12,
        **COMMON,
    ),
    "distill": on_policy_distillation.Config(
        teacher="t", prompts="x", rollouts_per_step=8, rollouts_per_prompt=2, max_completion_tokens=12, **COMMON
    ),
}  # fmt: skip
STAGES: dict[str, Any] = {
    "warmup": forward_kl_warmup, "sft": teacher_sft, "grpo": sparse_grpo, "distill": on_policy_distillation,
}  # fmt: skip


@pytest.fixture
def inputs(tmp_path: Path, tiny_model: Path, other_model: Path) -> dict[str, Path]:
    """Rollouts of very different lengths."""
    folder = write_rollouts(tmp_path / "rollouts", PromptRenderer.from_folder(tiny_model), 16)
    rows = [json.loads(line) for line in (folder / "rollouts.jsonl").read_text().splitlines()]
    for number, row in enumerate(rows):
        row["completion_ids"] = (
            row["completion_ids"] * 4 if number % 5 == 0 else row["completion_ids"][: 1 + number % 7]
        )
    (folder / "rollouts.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return {"policy": tiny_model, "teacher": other_model, "rollouts": folder}


def context_of(kind: str, work: Path, inputs: dict[str, Path], **profile: Any) -> StageContext:
    context = context_for(CONFIGS[kind], work, inputs, problems=6 if kind in ("grpo", "distill") else 0)
    context.profile = HardwareProfile(engine="transformers", **profile)
    return context


@pytest.mark.parametrize("kind", CONFIGS)
def test_losses_and_weights_are_those_of_one_pass(kind: str, tmp_path: Path, inputs: dict[str, Path]) -> None:
    import torch

    found = {}
    for name, profile in PASSES.items():
        outcome = STAGES[kind].run(CONFIGS[kind], context_of(kind, tmp_path / name, inputs, **profile))
        rows = read_metrics(tmp_path / name / "metrics.jsonl")
        assert [row["padding"] for row in rows] == [0, 0]
        found[name] = ([row["loss"] for row in rows], weights(outcome.folder), [row["passes"] for row in rows])
    losses, whole, passes = found["one"]
    assert passes == [1, 1] and found["rows"][2] == [4, 4] and min(found["tokens"][2]) > 1
    for other in ("rows", "tokens"):
        assert found[other][0] == pytest.approx(losses, rel=1e-5, abs=1e-6)
        for weight, tensor in whole.items():
            # Adam divides a gradient by its size, so one that is all rounding may go either way; hence the mean.
            assert float((found[other][1][weight] - tensor).abs().mean()) < 1e-5, weight
    assert torch.isfinite(torch.tensor(losses)).all()


def test_a_resumed_step_divides_as_the_first_try_did(tmp_path: Path, inputs: dict[str, Path]) -> None:
    import torch

    config = CONFIGS["warmup"].model_copy(update={"steps": 4, "save_every": 2})
    profile = PASSES["tokens"]
    whole = forward_kl_warmup.run(config, context_of("warmup", tmp_path / "whole", inputs, **profile))
    interrupted = context_of("warmup", tmp_path / "parts", inputs, **profile)
    stop_after(interrupted, calls=3)
    with pytest.raises(Stopped):
        forward_kl_warmup.run(config, interrupted)
    resumed = forward_kl_warmup.run(config, context_of("warmup", tmp_path / "parts", inputs, **profile))
    for name, tensor in weights(whole.folder).items():
        assert torch.equal(weights(resumed.folder)[name], tensor), name


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        (
            "warmup",
            r"tokens_per_micro_batch: 4 of 16 rows may be longer than a pass of 60 tokens\n  rollout 1 of arith",
        ),
        ("sft", r"4 of 16 rows may be longer than a pass of 60 tokens"),
        ("grpo", r"6 of 6 rows may be longer than a pass of 20 tokens\n  arithmetic/\S+: prompt of \d+ and max_com"),
        ("distill", r"6 of 6 rows may be longer than a pass of 20 tokens\n  arithmetic/\S+: prompt of \d+ and max_com"),
    ],
)
def test_rows_longer_than_a_pass_are_named_before_anything_is_trained(
    kind: str, said: str, tmp_path: Path, inputs: dict[str, Path]
) -> None:
    tokens = 60 if kind in ("warmup", "sft") else 20
    with pytest.raises(PipelineError, match=said):
        STAGES[kind].run(CONFIGS[kind], context_of(kind, tmp_path, inputs, tokens_per_micro_batch=tokens))
    assert not (tmp_path / "metrics.jsonl").exists()


def test_a_batch_without_a_gradient_is_a_step_of_one_rollout(
    tmp_path: Path, inputs: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch
    from transformers import Qwen3Model

    config = CONFIGS["grpo"].model_copy(update={"kl_coefficient": 0.0})
    computed, forward = [], Qwen3Model.forward

    def counted(model: Any, *given: Any, **options: Any) -> Any:
        if torch.is_grad_enabled():
            computed.append(options["input_ids"].numel())
        return forward(model, *given, **options)

    monkeypatch.setattr(Qwen3Model, "forward", counted)
    outcome = sparse_grpo.run(config, context_of("grpo", tmp_path, inputs, **PASSES["tokens"]))
    rows = read_metrics(tmp_path / "metrics.jsonl")
    assert [(row["groups_all_wrong"], row["loss"], row["grad_norm"]) for row in rows] == [(1, 0, 0), (1, 0, 0)]
    assert [(row["rollouts_trained"], row["passes"]) for row in rows] == [(1 / 8, 1), (1 / 8, 1)]
    longest = 12 + 15  # tokens of an answer and of a question
    assert len(computed) == 2 and max(computed) <= longest
    for name, tensor in weights(inputs["policy"]).items():
        assert torch.equal(weights(outcome.folder)[name], tensor), name


def test_no_forward_pass_is_made_for_the_old_log_probabilities_alone(
    tmp_path: Path, inputs: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch
    from transformers import Qwen3Model

    from reasoning_pipeline.workflows.reasoning.grpo import grpo_trainer

    context = context_of("grpo", tmp_path, inputs, **PASSES["tokens"])
    trainer: Any = grpo_trainer(CONFIGS["grpo"].model_copy(update={"kl_coefficient": 0.0}), context)
    trainer.vllm_importance_sampling_correction = True

    def written(prompts: list[list[int]], **_: Any) -> Any:
        completions = [[7, 8, 9, 2][: 1 + number % 4] for number in range(len(prompts))]
        return prompts, completions, [[[-4.0]] * len(one) for one in completions], None

    monkeypatch.setattr(trainer.vllm_generation, "generate", written)
    passes, forward = [], Qwen3Model.forward

    def counted(model: Any, *given: Any, **options: Any) -> Any:
        passes.append(torch.is_grad_enabled())
        return forward(model, *given, **options)

    monkeypatch.setattr(Qwen3Model, "forward", counted)
    trainer.train()
    assert passes and all(passes), "one forward pass for each backward pass, and none beside"
