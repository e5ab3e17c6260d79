"""A resumed step pushes before it generates: the server may hold anything by then."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from reasoning_pipeline.errors import Stopped
from reasoning_pipeline.workflows.reasoning.stages import on_policy_distillation, sparse_grpo
from tests.training.test_writing_ahead import CopiedPolicy, policy, served, stop_after

__all__ = ["policy"]  # the fixture: a stand-in for server and push


@pytest.mark.slow
@pytest.mark.parametrize("stage", [sparse_grpo, on_policy_distillation])
def test_after_a_resume_the_weights_are_pushed_before_anything_is_written(
    stage: Any,
    tmp_path: Path,
    tiny_model: Path,
    other_model: Path,
    policy: CopiedPolicy,
) -> None:
    models = {"policy": tiny_model, "teacher": other_model}
    config, context = served(stage, tmp_path, models, policy)
    stop_after(context, calls=2)
    with pytest.raises(Stopped):
        stage.run(config, context)
    policy.pushed.clear()
    policy._sampler = None  # another server: generating before the first push would fail
    config, context = served(stage, tmp_path, models, policy)
    stage.run(config, context)
    assert policy.pushed == ["test-step:2", "test-step:3"]
