"""The processes of a launched step that trains nothing: joined as the profile says, told what the first one knows."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, TypeVar

from reasoning_pipeline.hardware.launcher import has_launcher, sharding_kind
from reasoning_pipeline.training.loop import check_launch

if TYPE_CHECKING:
    from reasoning_pipeline.run.context import StageContext

Value = TypeVar("Value")


def join(context: StageContext) -> Any:
    """accelerate's view of this process. Raises PipelineError where something else runs than the profile asks for."""
    from accelerate import Accelerator
    from accelerate.state import AcceleratorState

    profile = context.profile
    launched, on_cpu = has_launcher(profile), profile.device == "cpu"
    precision = {"float32": "no", "bfloat16": "bf16"}[profile.precision]
    # What training/arguments.py says of the CPU holds here, too: `cpu` would switch DeepSpeed off.
    deepspeed = launched and sharding_kind(profile) == "DEEPSPEED"
    AcceleratorState._reset_state(reset_partial_state=True)  # as trainers do: another precision may have been joined
    accelerator = Accelerator(cpu=on_cpu and not deepspeed, mixed_precision=precision)
    check_launch(context, SimpleNamespace(accelerator=accelerator))
    return accelerator


def from_main(accelerator: Any, value: Value) -> Value:
    """The first process's value, on every process. Collective."""
    if accelerator.num_processes == 1:
        return value
    from accelerate.utils import broadcast_object_list

    told: Value = broadcast_object_list([value])[0]
    return told
