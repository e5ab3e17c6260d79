"""Under FSDP2, where each model's weights are: divided layer by layer over the processes, never whole on a device.

accelerate (1.15) divides the model that is trained. What stands beside it, a teacher or the start of a KL penalty, it
leaves on the CPU (the former) or TRL divides as one piece (the latter), so that every pass gathers all of it; here both
go the way of the policy. Only the first process reads weights: the others hold memory that nobody touches until
accelerate hands each its share. Everything is looked at once more before the first step.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from reasoning_pipeline.errors import PipelineError
from reasoning_pipeline.models.loading import load_model


def load_for_training(folder: Path, *, dtype: str = "float32") -> Any:
    """The model for a trainer; of several processes that divide it, only the first reads its weights.

    Trainer arguments must exist by now: making them joins the processes, and before that nobody knows who is first.
    """
    from accelerate import PartialState
    from transformers.integrations import is_fsdp_enabled  # also asks whether the configuration loads in this way

    if not is_fsdp_enabled() or PartialState().is_main_process:
        return load_model(folder, dtype=dtype)
    return _unread(folder, getattr(torch, dtype))


def _unread(folder: Path, dtype: torch.dtype) -> Any:
    """A model of the right shapes. Its parameters are memory that is reserved and never touched, which costs a host
    nothing; they are not on `meta`, because accelerate finds the optimizer's parameters again by their addresses."""
    from accelerate import init_empty_weights
    from transformers import AutoConfig, AutoModelForCausalLM, GenerationConfig

    config = AutoConfig.from_pretrained(folder, trust_remote_code=False, local_files_only=True)
    with init_empty_weights(include_buffers=False):  # rotary frequencies are computed, nobody sends them
        model = AutoModelForCausalLM.from_config(config, dtype=dtype)
    for module in model.modules():
        for name, parameter in module._parameters.items():
            if parameter is not None:
                empty = torch.empty_like(parameter, device="cpu")
                module._parameters[name] = torch.nn.Parameter(empty, requires_grad=parameter.requires_grad)
    model.tie_weights()
    if (folder / "generation_config.json").is_file():
        model.generation_config = GenerationConfig.from_pretrained(folder, local_files_only=True)
    return model.eval()


def frozen_for_scoring(folder: Path, accelerator: Any, *, dtype: str) -> Any:
    """A model that only scores: its share on this process's device where FSDP2 divides, all of it elsewhere."""
    model = shard_frozen(load_for_training(folder, dtype=dtype), accelerator)
    return model if accelerator.is_fsdp2 else model.to(accelerator.device)


def shard_frozen(model: Any, accelerator: Any) -> Any:
    """Divide a model that is not trained, layer by layer like the policy; itself where nothing is divided by FSDP2.

    It is held in the precision in which it is computed: it has no update that would need more.
    """
    if not accelerator.is_fsdp2:
        return model
    from accelerate.utils.fsdp_utils import fsdp2_prepare_model

    plugin = accelerator.state.fsdp_plugin
    policy = plugin.mixed_precision_policy
    unread = plugin.cpu_ram_efficient_loading and not accelerator.is_main_process
    for parameter in model.requires_grad_(False).parameters():
        if policy is not None and policy.param_dtype not in (None, parameter.dtype):
            low = policy.param_dtype
            parameter.data = torch.empty_like(parameter, dtype=low) if unread else parameter.data.to(low)
    return fsdp2_prepare_model(accelerator, model.eval())


def reduce_in_float32(accelerator: Any) -> None:
    """Sum gradients over processes in float32, and hand on what a model puts out in float32.

    accelerate's own policy does both in the precision of the matrix products, and a sum over many passes loses what
    bfloat16's eight bits cannot hold.
    """
    if not accelerator.is_fsdp2 or accelerator.mixed_precision == "no":
        return
    from torch.distributed.fsdp import MixedPrecisionPolicy

    plugin = accelerator.state.fsdp_plugin
    low = plugin.mixed_precision_policy.param_dtype
    plugin.mixed_precision_policy = MixedPrecisionPolicy(
        param_dtype=low, reduce_dtype=torch.float32, output_dtype=torch.float32
    )


def check_placement(models: dict[str, Any], accelerator: Any) -> None:
    """Refuse to train with a model on another device, or whole where the processes are to divide it.

    Args:
        models: By the name for messages, e.g. {"policy": …, "teacher": …}.
    """
    for name, model in models.items():
        parameters = list(model.named_parameters())
        devices = {_local(parameter).device for _, parameter in parameters}
        if any(not _same(device, accelerator.device) for device in devices):
            raise PipelineError(
                f"the {name}'s weights are on {', '.join(sorted(map(str, devices)))}, the trainer computes on "
                f"{accelerator.device}",
                remedy="report this: the installed accelerate and trl place models in another way than the tested ones",
            )
        whole = [label for label, parameter in parameters if not _divided(parameter, accelerator)]
        units = sum(hasattr(module, "unshard") for module in model.modules())
        if whole or (accelerator.is_fsdp2 and units <= model.config.get_text_config().num_hidden_layers):
            what = f"parameters like {whole[0]} are whole" if whole else f"it is gathered in {units} pieces"
            raise PipelineError(
                f"the {name} is not divided layer by layer over {accelerator.num_processes} processes: {what}",
                remedy="check accelerate_config: fsdp_version 2 with TRANSFORMER_BASED_WRAP",
            )


def _local(parameter: torch.Tensor) -> torch.Tensor:
    local: torch.Tensor = parameter.to_local() if hasattr(parameter, "to_local") else parameter
    return local


def _same(one: torch.device, other: torch.device) -> bool:
    """A device without a number is the current one of its kind."""
    return one.type == other.type and (one.index == other.index or None in (one.index, other.index))


def _divided(parameter: torch.Tensor, accelerator: Any) -> bool:
    """Whether it is as this accelerator should hold it."""
    return not accelerator.is_fsdp2 or hasattr(parameter, "to_local")
