"""Where a teacher may be and how old rollouts may be: combinations that are refused before anything runs."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from reasoning_pipeline.__main__ import main
from reasoning_pipeline.hardware.profile import HardwareProfile
from reasoning_pipeline.rollouts.servers.teacher import asks_a_server
from reasoning_pipeline.workflows.reasoning.stages import (
    forward_kl_warmup,
    on_policy_distillation,
    sparse_grpo,
    teacher_rollouts,
)
from tests.bench import Bench


def grpo(**changes: object) -> sparse_grpo.Config:
    return sparse_grpo.Config.model_validate({"policy": "p", "spends": "first", "steps": 1, **changes})


def test_stale_rollouts_without_their_correction_are_refused() -> None:
    assert grpo(max_staleness=1).correct_sampler_mismatch
    assert grpo(correct_sampler_mismatch=False).max_staleness == 0
    with pytest.raises(ValidationError, match="max_staleness: 1 needs correct_sampler_mismatch"):
        grpo(max_staleness=1, correct_sampler_mismatch=False)
    with pytest.raises(ValidationError):
        grpo(max_staleness=2)


def test_a_loss_that_depends_on_the_passes_is_not_divided(bench: Bench, capsys: pytest.CaptureFixture[str]) -> None:
    def changed(recipe: dict[str, Any]) -> None:
        recipe["steps"]["teacher_rl"].update(loss="bnpo", problems_per_step=4, max_completion_tokens=32)
        recipe["steps"]["teacher_rl"].update(max_prompt_tokens=32)

    profile = bench.write("engine: transformers\nmicro_batch: 8\n", "passes.yaml")
    arguments = ["--root", str(bench.root), "--hardware"]
    path = str(bench.changed(changed))
    assert main(["plan", path, *arguments, "cpu_transformers"]) == 0
    for command in ("plan", "run"):
        assert main([command, path, *arguments, str(profile)]) == 2
        error = capsys.readouterr().err
        assert "teacher_rl: problems_per_step x group_size: 32 rollouts in 1 processes with 4 passes each" in error
        assert "`loss: bnpo` divides by the tokens of each pass" in error
    assert not (bench.root / "registry").exists(), "before anything is trained"


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
