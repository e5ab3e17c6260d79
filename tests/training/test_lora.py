"""LoRA on each stage: only the named layers change, what is published is a plain model, and it is the trainer's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from reasoning_pipeline.data.prompts import PromptRenderer
from reasoning_pipeline.rollouts.weights.probe import Probe
from reasoning_pipeline.workflows.reasoning.stages import (
    extra_rl,
    forward_kl_warmup,
    on_policy_distillation,
    sparse_grpo,
    teacher_sft,
)
from tests.training.test_trl_bridge import context_for, weights, write_rollouts

pytestmark = pytest.mark.slow

TARGETS = ("q_proj", "down_proj")
COMMON: dict[str, Any] = {
    "policy": "p",
    "seed": 0,
    "steps": 2,
    "learning_rate": 1e-2,
    "lora": {"rank": 4, "alpha": 16, "targets": TARGETS},
}
REWARDED = {"spends": "first", "problems_per_step": 2, "group_size": 4, "max_completion_tokens": 12}
CACHED = {"rollouts": "r", "rollouts_per_step": 4}
SETTINGS: dict[Any, dict[str, Any]] = {
    sparse_grpo: {**REWARDED, "kl_coefficient": 0.1},  # the reference is the adapter switched off
    forward_kl_warmup: {**CACHED, "teacher": "t"},
    on_policy_distillation: {
        "teacher": "t", "prompts": "first", "rollouts_per_step": 8, "rollouts_per_prompt": 2,
        "max_completion_tokens": 12,
    },
    extra_rl: REWARDED,
    teacher_sft: CACHED,
}  # fmt: skip


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory, tiny_model: Path, other_model: Path) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("lora") / "rollouts"
    rollouts = write_rollouts(folder, PromptRenderer.from_folder(tiny_model), 8)
    return {"policy": tiny_model, "teacher": other_model, "rollouts": rollouts}


def changed(before: Path, after: Path) -> set[str]:
    """Kinds of layers whose weights differ; all names and shapes must be the same."""
    ours, theirs = weights(before), weights(after)
    assert {name: tensor.shape for name, tensor in ours.items()} == {n: t.shape for n, t in theirs.items()}
    return {name.split(".")[-2] for name in ours if not ours[name].equal(theirs[name])}


@pytest.mark.parametrize("stage", SETTINGS, ids=lambda stage: stage.__name__.rpartition(".")[2])
def test_a_stage_trains_adapters_and_publishes_a_plain_model(stage: Any, tmp_path: Path, inputs: dict[str, Path]):
    import torch

    from reasoning_pipeline.models.loading import load_model

    config = stage.Config(**COMMON, **SETTINGS[stage])
    outcome = stage.run(config, context_for(config, tmp_path, inputs, problems=6))
    # GRPO learns only where rewards differ, which two steps of random answers need not show.
    assert changed(inputs["policy"], outcome.folder) <= set(TARGETS)
    if stage not in (sparse_grpo, extra_rl):
        assert changed(inputs["policy"], outcome.folder) == set(TARGETS)
    assert not list(outcome.folder.glob("adapter*"))
    # The probe was scored by the trainer, adapters and base apart: the merged weights must say the same.
    probe = Probe.load(outcome.folder)
    assert probe is not None
    model = load_model(outcome.folder).eval()
    for ids, expected in zip(probe.sequences, probe.logprobs, strict=True):
        with torch.no_grad():
            logprobs = model(torch.tensor([ids])).logits[0].log_softmax(-1)
        found = [float(logprobs[place, ids[place + 1]]) for place in range(len(ids) - 1)]
        assert found == pytest.approx(expected, abs=1e-5)


def test_two_runs_draw_the_same_adapters(tmp_path: Path, inputs: dict[str, Path]):
    config = teacher_sft.Config(**COMMON, **CACHED)
    first, second = (teacher_sft.run(config, context_for(config, tmp_path / name, inputs)) for name in ("a", "b"))
    assert changed(first.folder, second.folder) == set()


def test_no_layer_of_that_name(tmp_path: Path, inputs: dict[str, Path]):
    config = teacher_sft.Config(**{**COMMON, "lora": {"targets": ["nothing"]}}, **CACHED)
    with pytest.raises(ValueError, match="nothing"):
        teacher_sft.run(config, context_for(config, tmp_path, inputs))
