"""Where a teacher may be and how old rollouts may be: combinations that are refused before anything runs."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from reasoning_pipeline.hardware.profile import HardwareProfile
from reasoning_pipeline.rollouts.servers.teacher import asks_a_server
from reasoning_pipeline.workflows.reasoning.stages import (
    forward_kl_warmup,
    on_policy_distillation,
    sparse_grpo,
    teacher_rollouts,
)


def grpo(**changes: object) -> sparse_grpo.Config:
    return sparse_grpo.Config.model_validate({"policy": "p", "spends": "first", "steps": 1, **changes})


def test_stale_rollouts_without_their_correction_are_refused() -> None:
    assert grpo(max_staleness=1).correct_sampler_mismatch
    assert grpo(correct_sampler_mismatch=False).max_staleness == 0
    with pytest.raises(ValidationError, match="max_staleness: 1 needs correct_sampler_mismatch"):
        grpo(max_staleness=1, correct_sampler_mismatch=False)
    with pytest.raises(ValidationError):
        grpo(max_staleness=2)


def test_a_teachers_server_needs_servers() -> None:
    with pytest.raises(ValidationError, match="teacher 'server' needs engine 'vllm'"):
        HardwareProfile(teacher="server", engine="transformers")


@pytest.mark.parametrize(
    ("config", "asks"),
    [
        (forward_kl_warmup.Config(policy="p", teacher="t", rollouts="r", steps=1), True),
        (on_policy_distillation.Config(policy="p", teacher="t", prompts="first", steps=1), True),
        (teacher_rollouts.Config(teacher="t", prompts="first"), False),
        (grpo(), False),
    ],
)
def test_only_distillations_ask_a_teachers_server(config: object, asks: bool) -> None:
    assert asks_a_server(config, HardwareProfile(teacher="server")) is asks  # type: ignore[arg-type]
    assert not asks_a_server(config, HardwareProfile())  # type: ignore[arg-type]
