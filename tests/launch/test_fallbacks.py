"""What a launcher made of a profile is compared with what the profile asked for; a difference ends the step."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from reasoning_pipeline.errors import PipelineError
from reasoning_pipeline.hardware.profile import HardwareProfile


def check(
    config: str | None, processes: int, runs: str, started: int, precision: str = "no", profile: Any = "float32"
) -> None:
    from accelerate.utils import DistributedType

    from reasoning_pipeline.training.loop import check_launch

    mine = HardwareProfile(name="mine", processes=processes, accelerate_config=config, precision=profile)
    accelerator = SimpleNamespace(
        num_processes=started, distributed_type=DistributedType(runs), mixed_precision=precision
    )
    check_launch(cast(Any, SimpleNamespace(profile=mine)), SimpleNamespace(accelerator=accelerator))


@pytest.mark.slow  # imports torch and transformers
def test_silent_fallbacks_are_errors() -> None:
    check(None, 1, "NO", 1)
    check("ddp.yaml", 1, "NO", 1)  # nothing to divide, and nothing launched
    check("ddp.yaml", 2, "MULTI_CPU", 2)
    check("ddp.yaml", 2, "MULTI_GPU", 2)
    check("zero2.yaml", 2, "DEEPSPEED", 2)
    check("fsdp2.yaml", 1, "FSDP", 1)
    with pytest.raises(PipelineError, match="asks for 2 trainer processes, 1 started"):
        check("ddp.yaml", 2, "NO", 1)  # accelerate launch --cpu --num_processes 2
    with pytest.raises(PipelineError, match=r"fsdp2.yaml asks for FSDP, but MULTI_CPU runs"):
        check("fsdp2.yaml", 2, "MULTI_CPU", 2)  # FSDP without GPUs
    with pytest.raises(PipelineError, match=r"zero3.yaml asks for DEEPSPEED, but MULTI_CPU runs"):
        check("zero3.yaml", 2, "MULTI_CPU", 2)  # use_cpu behind a launcher
    with pytest.raises(PipelineError, match="asks for NO, but DEEPSPEED runs"):
        check(None, 1, "DEEPSPEED", 1)  # ACCELERATE_USE_DEEPSPEED in the environment


@pytest.mark.slow  # imports torch and transformers
def test_another_precision_than_the_profiles_is_an_error() -> None:
    check(None, 1, "NO", 1, "bf16", profile="bfloat16")
    with pytest.raises(PipelineError, match=r"asks for precision float32 \('no' to accelerate\), but 'bf16' runs"):
        check(None, 1, "NO", 1, "bf16")  # ACCELERATE_MIXED_PRECISION=bf16
    with pytest.raises(PipelineError, match="asks for precision bfloat16"):
        check("zero2.yaml", 2, "DEEPSPEED", 2, profile="bfloat16")
