"""The bridge to TRL on tiny models: which data reach the loss, resuming, and the insides it relies on."""

from __future__ import annotations

import inspect
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from reasoning_pipeline.data import arithmetic
from reasoning_pipeline.data.config import PromptConfig
from reasoning_pipeline.data.prompts import PromptRenderer
from reasoning_pipeline.errors import IncompatibleModels, Stopped
from reasoning_pipeline.hardware.profile import HardwareProfile
from reasoning_pipeline.run.context import StageContext
from reasoning_pipeline.workflows.reasoning.stages import forward_kl_warmup, on_policy_distillation, sparse_grpo

pytestmark = pytest.mark.slow

PROFILE = HardwareProfile(engine="transformers")


def write_rollouts(folder: Path, renderer: PromptRenderer, count: int) -> Path:
    """A rollout set of correct solutions."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = []
    for problem in arithmetic.problems("pool", count):
        answer = renderer.tokenizer.encode(arithmetic.solution(problem.question), add_special_tokens=False).ids
        prompt_ids = renderer.prompt_ids(problem.question)
        rows.append({"problem_id": problem.id, "prompt_ids": prompt_ids, "completion_ids": [*answer, 2]})
    (folder / "rollouts.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return folder


def context_for(config: Any, work: Path, inputs: dict[str, Path], problems: int = 0) -> StageContext:
    return StageContext(
        config=config,
        label="test-step",
        problems=arithmetic.problems("pool", problems),
        inputs=inputs,
        prompt=PromptConfig(),
        profile=PROFILE,
        work=work,
    )


@pytest.fixture
def warmup_inputs(tmp_path: Path, tiny_model: Path, other_model: Path) -> dict[str, Path]:
    rollouts = write_rollouts(tmp_path / "rollouts", PromptRenderer.from_folder(tiny_model), 8)
    return {"policy": tiny_model, "teacher": other_model, "rollouts": rollouts}


def warmup_config(**changes: Any) -> forward_kl_warmup.Config:
    values = {"policy": "p", "teacher": "t", "rollouts": "r", "seed": 3, "steps": 4, "rollouts_per_step": 4}
    return forward_kl_warmup.Config(**{**values, "learning_rate": 1e-3, "save_every": 2, **changes})


def weights(folder: Path) -> dict[str, Any]:
    from safetensors.torch import load_file

    return load_file(folder / "model.safetensors")


def test_the_warmup_loss_is_the_forward_kl_on_the_cached_rollouts(
    tmp_path: Path, warmup_inputs: dict[str, Path]
) -> None:
    import torch

    from reasoning_pipeline.models.loading import load_model

    config = warmup_config(steps=1, rollouts_per_step=8)
    forward_kl_warmup.run(config, context_for(config, tmp_path / "work", warmup_inputs))
    first = json.loads((tmp_path / "work" / "metrics.jsonl").read_text().splitlines()[0])

    student, teacher = load_model(warmup_inputs["policy"]), load_model(warmup_inputs["teacher"])
    total, tokens = 0.0, 0
    for line in (warmup_inputs["rollouts"] / "rollouts.jsonl").read_text().splitlines():
        row = json.loads(line)
        ids = torch.tensor([row["prompt_ids"] + row["completion_ids"]])
        start = len(row["prompt_ids"]) - 1
        with torch.no_grad():
            ours, theirs = (model(ids).logits[0, start:-1].double().log_softmax(-1) for model in (student, teacher))
        total += float((theirs.exp() * (theirs - ours)).sum())
        tokens += len(row["completion_ids"])
    assert first["kl"] == pytest.approx(total / tokens, rel=1e-4)


def test_a_resumed_warmup_ends_with_the_weights_of_an_uninterrupted_one(
    tmp_path: Path, warmup_inputs: dict[str, Path]
) -> None:
    import torch

    config = warmup_config()
    whole = forward_kl_warmup.run(config, context_for(config, tmp_path / "whole", warmup_inputs))

    interrupted = context_for(config, tmp_path / "parts", warmup_inputs)
    stop_after(interrupted, calls=3)
    with pytest.raises(Stopped, match="after optimizer step 3"):
        forward_kl_warmup.run(config, interrupted)
    torn = tmp_path / "parts" / "checkpoints" / "checkpoint-4"
    shutil.copytree(tmp_path / "parts" / "checkpoints" / "checkpoint-3", torn)
    (torn / "complete").unlink()  # a resume point that was being written when the power went
    resumed = forward_kl_warmup.run(config, context_for(config, tmp_path / "parts", warmup_inputs))

    for name, tensor in weights(whole.folder).items():
        torch.testing.assert_close(weights(resumed.folder)[name], tensor, rtol=0, atol=0)
    steps = [json.loads(line)["step"] for line in (tmp_path / "parts" / "metrics.jsonl").read_text().splitlines()]
    assert steps == [1, 2, 3, 4], "no step stands twice in the metrics"


def stop_after(context: StageContext, *, calls: int) -> None:
    """Let `should_stop()` say yes from its `calls`-th question on."""
    asked = iter(range(1, 1000))
    context.should_stop = lambda: next(asked) >= calls  # type: ignore[method-assign]


@pytest.mark.parametrize("stage", [sparse_grpo, on_policy_distillation])
def test_generating_stages_train_with_the_transformers_engine(
    stage: Any, tmp_path: Path, tiny_model: Path, other_model: Path
) -> None:
    common = {"policy": "p", "seed": 0, "steps": 2, "learning_rate": 1e-3, "max_completion_tokens": 12}
    if stage is sparse_grpo:
        config = stage.Config(**common, spends="first", problems_per_step=2, group_size=4)
    else:
        config = stage.Config(**common, teacher="t", prompts="first", rollouts_per_step=8, rollouts_per_prompt=2)
    context = context_for(config, tmp_path, {"policy": tiny_model, "teacher": other_model}, problems=6)
    outcome = stage.run(config, context)
    assert outcome.result["steps"] == 2
    assert 0 < outcome.result["tokens_generated"] <= 2 * 8 * 12
    files = {path.name for path in outcome.folder.iterdir()}
    assert {"model.safetensors", "config.json", "tokenizer.json", "probe.json", "metrics.jsonl"} <= files
    assert not {name for name in files if name.endswith((".bin", ".pt", ".pkl"))}, "nothing pickled is published"
    if stage is on_policy_distillation:
        assert outcome.result["kl_first"] > 0


def test_distillation_between_different_vocabularies_is_refused(
    tmp_path: Path, tiny_model: Path, warmup_inputs: dict[str, Path]
) -> None:
    stranger = tmp_path / "stranger"
    shutil.copytree(tiny_model, stranger)
    tokenizer = json.loads((stranger / "tokenizer.json").read_text())
    vocabulary = tokenizer["model"]["vocab"]
    vocabulary["+"], vocabulary["-"] = vocabulary["-"], vocabulary["+"]
    (stranger / "tokenizer.json").write_text(json.dumps(tokenizer))
    config = warmup_config()
    context = context_for(config, tmp_path / "work", {**warmup_inputs, "teacher": stranger})
    with pytest.raises(IncompatibleModels, match=r"token '[+-]'"):
        forward_kl_warmup.run(config, context)


def test_trl_still_has_the_insides_the_bridge_relies_on() -> None:
    from trl import DistillationTrainer, GRPOTrainer
    from trl.trainer.utils import maybe_gather_lm_head_ctx

    for trainer in (GRPOTrainer, DistillationTrainer):
        source = inspect.getsource(trainer._generate_single_turn)
        assert "self.state.global_step != self._last_loaded_step" in source
        assert "self.vllm_generation.sync_weights()" in source
        assert "self.vllm_generation.generate(" in source
        assert list(inspect.signature(trainer._tokenize_prompts).parameters) == ["self", "prompts"]
    assert 'prompts = [x["prompt"] for x in inputs]' in inspect.getsource(
        DistillationTrainer._generate_and_score_completions
    )
    # What a teacher outside the trainer needs: its scores travel with the batch, and the loss is computed in one place.
    parameters = list(inspect.signature(DistillationTrainer._compute_loss).parameters)
    assert parameters == ["self", "unwrapped_student", "inputs", "num_items_in_batch"]
    names = list(inspect.signature(DistillationTrainer._get_last_hidden_state).parameters)
    assert names[:5] == ["self", "unwrapped_model", "input_ids", "attention_mask", "logits_to_keep"]
    assert callable(maybe_gather_lm_head_ctx)


def test_trl_s_losses_still_read_a_pass_as_the_bridge_hands_it_to_them() -> None:
    from trl import DistillationTrainer, GRPOTrainer
    from trl.kernels import chunked_divergence, chunked_logprob
    from trl.trainer import distillation_trainer, utils

    scoring = inspect.getsource(GRPOTrainer._generate_and_score_completions)
    assert "self.use_vllm and self.vllm_importance_sampling_correction" in scoring, "else a pass for old log-probs"
    assert "if self.beta != 0.0:" in scoring and 'output["sampling_per_token_logps"]' in scoring
    loss = inspect.getsource(GRPOTrainer._compute_loss)
    asked = loss.index("self._get_per_token_logps_and_entropies(")
    assert asked < loss.index('inputs["importance_sampling_ratio"]'), "found while the pass is computed"
    assert asked < loss.index('inputs["ref_per_token_logps"]')
    assert "per_token_logps.detach() if old_per_token_logps is None" in loss
    assert loss.count("normalizer = self.current_gradient_accumulation_steps") == 5
    assert "self.current_gradient_accumulation_steps / self.args.steps_per_generation" in loss
    distilled = inspect.getsource(DistillationTrainer._compute_loss)
    assert distilled.count("_get_last_hidden_state") == 2 and 'inputs["completion_mask"]' in distilled
    fused = inspect.getsource(utils.add_fused_lm_head)
    assert "compact = _use_triton(hidden_states.device)" in fused and "shift_labels" in fused
    assert "compact = _use_triton(" in inspect.getsource(distillation_trainer._chunked_divergence_loss)
    for module, name in (
        (chunked_divergence, "TOKEN_CHUNK_SIZE"), (chunked_divergence, "VOCAB_CHUNK_SIZE"),
        (chunked_logprob, "TOKEN_CHUNK_SIZE"), (utils, "_CHUNKED_LOGPROB_CHUNK_SIZE"),
    ):  # fmt: skip
        assert isinstance(getattr(module, name), int)
