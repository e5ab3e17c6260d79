"""A trainer's parameters under their checkpoint names, whole, one at a time, however the trainer divides them.

Plain and DDP models hold whole parameters; DeepSpeed ZeRO-3 and FSDP2 (`fully_shard`) divide each over the processes,
and gathering one is a collective that every process joins in the same order. A LoRA adapter (PEFT) is added to its base
weight on the way out; the trainer's own weights stay as they are.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from reasoning_pipeline.errors import IncompatibleModels

if TYPE_CHECKING:
    import torch

_WRAPPERS = ("_orig_mod.", "_checkpoint_wrapped_module.", "_fsdp_wrapped_module.")
"""What torch.compile, activation checkpointing and FSDP put into a parameter's name."""
_PEFT = "base_model.model."


@dataclass(frozen=True)
class TensorInfo:
    """What a gathered tensor will be, known without gathering it."""

    name: str
    shape: tuple[int, ...]
    dtype: torch.dtype

    @property
    def elements(self) -> int:
        count = 1
        for size in self.shape:
            count *= size
        return count


@dataclass(frozen=True)
class _Source:
    """Where one checkpoint tensor comes from: a parameter, and the adapters that change it."""

    info: TensorInfo
    parameter: torch.nn.Parameter
    adapters: list[_Adapter] = field(default_factory=list)


@dataclass(frozen=True)
class _Adapter:
    """`first @ second * scaling`, transposed where the layer keeps its weight the other way round."""

    first: torch.nn.Parameter
    second: torch.nn.Parameter
    scaling: float
    transposed: bool


def described(model: torch.nn.Module) -> list[TensorInfo]:
    """Every tensor that `whole_tensors` will give, in its order. Gathers nothing; `model` is unwrapped from DDP."""
    return [source.info for source in _sources(model)]


def whole_tensors(model: torch.nn.Module, *, masters: bool = False) -> Iterator[tuple[str, torch.Tensor]]:
    """(checkpoint name, whole tensor) one at a time. Collective where parameters are divided.

    With `masters`, DeepSpeed gives the float32 weights that its optimizer keeps, of which the model's bfloat16 ones are
    a rounding: three steps at 1e-5 moved those by 3 % of what was learned.

    The tensor is the trainer's own memory where nothing had to be gathered, and is only valid until the next one is
    asked for: copy it at once. A tied head appears once, under the embedding's name, as in a saved checkpoint.
    """
    for source in _sources(model):
        parts = [source.parameter, *(p for adapter in source.adapters for p in (adapter.first, adapter.second))]
        kept = {id(part): master for part in parts if masters and (master := _master(part)) is not None}
        with _gathered([part for part in parts if id(part) not in kept]):
            whole = [kept.get(id(part), _whole(part)) for part in parts]
            tensor = whole[0]
            for adapter, first, second in zip(source.adapters, whole[1::2], whole[2::2], strict=True):
                # In float32, as PEFT merges: a bfloat16 product would lose what a small adapter adds.
                delta = first.float() @ second.float() * adapter.scaling
                merged = tensor.float() + (delta.T if adapter.transposed else delta)
                tensor = merged if masters else merged.to(tensor.dtype)
            yield source.info.name, tensor


def _gathered(parameters: list[torch.nn.Parameter]) -> AbstractContextManager[Any]:
    """ZeRO-3 gathers in place and divides again on leaving."""
    if not parameters or not hasattr(parameters[0], "ds_id"):
        return nullcontext()
    import deepspeed

    return deepspeed.zero.GatheredParameters(parameters)


def _master(parameter: torch.nn.Parameter) -> torch.Tensor | None:
    """The optimizer's float32 weights behind a parameter of DeepSpeed's; None where it keeps none."""
    if not parameter.requires_grad or not (hasattr(parameter, "ds_id") or hasattr(parameter, "_hp_mapping")):
        return None
    from deepspeed.utils import safe_get_full_fp32_param

    master: torch.Tensor | None = safe_get_full_fp32_param(parameter)
    shape = getattr(parameter, "ds_shape", parameter.shape)
    return None if master is None else master.detach().view(tuple(shape))


def _whole(parameter: torch.nn.Parameter) -> torch.Tensor:
    """A DTensor (FSDP2) is gathered; everything else is whole by now."""
    whole: torch.Tensor = parameter.full_tensor() if hasattr(parameter, "full_tensor") else parameter
    return whole.detach()


def _sources(model: torch.nn.Module) -> Iterator[_Source]:
    adapters = _lora_adapters(model)
    for name, parameter in model.named_parameters():
        plain = _checkpoint_name(name)
        if plain is not None:
            shape = tuple(getattr(parameter, "ds_shape", parameter.shape))
            yield _Source(TensorInfo(plain, shape, parameter.dtype), parameter, adapters.get(id(parameter), []))


def _checkpoint_name(name: str) -> str | None:
    """The name under which the base model would save this parameter; None for an adapter's own.

    Example: base_model.model.model.layers.0.mlp.up_proj.base_layer.weight -> model.layers.0.mlp.up_proj.weight
    """
    for wrapper in _WRAPPERS:
        name = name.replace(wrapper, "")
    if not name.startswith(_PEFT):
        return name
    if ".lora_" in name or ".original_module." in name:
        return None
    name = name.removeprefix(_PEFT).replace(".base_layer.", ".")
    before, saved, after = name.partition(".modules_to_save.")
    return f"{before}.{after.partition('.')[2]}" if saved else name


def _lora_adapters(model: torch.nn.Module) -> dict[int, list[_Adapter]]:
    """id of a base weight -> its active adapters. Raises IncompatibleModels for adapters that are no plain LoRA."""
    if not hasattr(model, "peft_config"):
        return {}
    from peft.tuners.lora import Embedding, Linear, LoraLayer
    from peft.tuners.tuners_utils import BaseTunerLayer

    found: dict[int, list[_Adapter]] = {}
    for name, layer in model.named_modules():
        if not isinstance(layer, BaseTunerLayer):
            continue
        active = [] if layer.disable_adapters else [a for a in layer.active_adapters if a not in layer.merged_adapters]
        plain = isinstance(layer, LoraLayer) and not layer.lora_variant and not any(layer.lora_bias.values())
        if not plain or not isinstance(layer, Linear | Embedding):
            raise IncompatibleModels(
                f"{name}: a {type(layer).__name__} adapter cannot be merged on the way to the rollout server",
                remedy="train with plain LoRA on linear or embedding layers (no DoRA, no bias), or without an adapter",
            )
        lora: Any = layer
        found[id(lora.get_base_layer().weight)] = [
            _Adapter(lora.lora_embedding_B[a], lora.lora_embedding_A[a], lora.scaling[a], transposed=True)
            if isinstance(layer, Embedding)
            else _Adapter(lora.lora_B[a].weight, lora.lora_A[a].weight, lora.scaling[a], lora.fan_in_fan_out)
            for a in active
            if a in lora.scaling
        ]
    return found
