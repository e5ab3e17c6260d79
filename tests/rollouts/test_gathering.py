"""Checkpoint names and whole tensors out of wrapped models. The divided ones: tests/rollouts/test_trainers.py."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from peft import LoraConfig, get_peft_model

from reasoning_pipeline.errors import IncompatibleModels
from reasoning_pipeline.models.loading import load_model
from reasoning_pipeline.rollouts.weights.gathering import described, whole_tensors


def gathered(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in whole_tensors(model)}


def with_lora(folder: Path, **options: object) -> torch.nn.Module:
    """An adapter whose second half is not zero, as training leaves it."""
    torch.manual_seed(3)
    model = get_peft_model(load_model(folder), LoraConfig(r=4, lora_alpha=16, **options))  # type: ignore[arg-type]
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_B" in name or "lora_embedding_A" in name:
                parameter.normal_(std=0.1)
    return model


def test_a_plain_model_gives_what_its_checkpoint_holds(tiny_model: Path) -> None:
    from safetensors.torch import load_file

    saved = load_file(tiny_model / "model.safetensors")
    found = gathered(load_model(tiny_model))
    assert found.keys() == saved.keys(), "a tied head is not a tensor of its own"
    assert all(torch.equal(found[name], saved[name]) for name in saved)


def test_what_is_described_is_what_comes(tiny_model: Path) -> None:
    for model in (load_model(tiny_model), with_lora(tiny_model, target_modules="all-linear")):
        infos = described(model)
        tensors = gathered(model)
        assert [(i.name, i.shape, i.dtype) for i in infos] == [(n, tuple(t.shape), t.dtype) for n, t in tensors.items()]


@pytest.mark.parametrize(
    "options",
    [
        {"target_modules": "all-linear"},
        {"target_modules": ["q_proj", "embed_tokens"]},
        {"target_modules": ["down_proj"], "modules_to_save": ["norm"]},
        {"target_modules": ["v_proj"], "use_rslora": True},
    ],
)
def test_a_lora_adapter_is_merged_as_peft_merges_and_the_trainer_keeps_its_own(
    tiny_model: Path, options: dict[str, object]
) -> None:
    model = with_lora(tiny_model, **options)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    ours = gathered(model)
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    merged = dict(model.merge_and_unload().named_parameters())
    assert ours.keys() == merged.keys()
    changed = 0
    base = gathered(load_model(tiny_model))
    for name, tensor in ours.items():
        torch.testing.assert_close(tensor, merged[name].detach(), rtol=1e-6, atol=1e-6)
        changed += not torch.equal(tensor, base[name])
    assert changed, "the adapter does change something"


def test_an_adapter_that_is_no_plain_lora_is_refused_by_name(tiny_model: Path) -> None:
    model = with_lora(tiny_model, target_modules=["q_proj"], use_dora=True)
    with pytest.raises(IncompatibleModels, match=r"q_proj.*cannot be merged"):
        described(model)


def test_a_disabled_adapter_is_left_out(tiny_model: Path) -> None:
    model = with_lora(tiny_model, target_modules=["q_proj"])
    with model.disable_adapter():  # type: ignore[operator]
        ours = gathered(model)
    base = gathered(load_model(tiny_model))
    assert all(torch.equal(ours[name], base[name]) for name in base)


def test_compiled_and_checkpointed_modules_keep_their_names(tiny_model: Path) -> None:
    from torch.distributed.algorithms._checkpoint.checkpoint_wrapper import checkpoint_wrapper

    model = load_model(tiny_model)
    expected = [one.name for one in described(model)]
    layers = model.model.layers
    layers[0] = torch.compile(layers[0])
    layers[1] = checkpoint_wrapper(layers[1])
    assert [one.name for one in described(model)] == expected
