"""What a plan expects of a family's weights is what transformers builds from the same configuration."""

from __future__ import annotations

from typing import Any

import pytest

from reasoning_pipeline.models.families import FAMILIES, parameters, tied

pytestmark = pytest.mark.slow

SIZES: dict[str, Any] = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "vocab_size": 50,
    **{"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0},
}
SETTINGS: dict[str, dict[str, Any]] = {
    "plain": {},
    "biases and a width of heads": {"attention_bias": True, "mlp_bias": True, "head_dim": 24},
    "every head its own keys": {"num_key_value_heads": 4},
}


@pytest.mark.parametrize("settings", SETTINGS)
@pytest.mark.parametrize("kind", FAMILIES)
def test_names_and_shapes_are_those_of_the_model_itself(kind: str, settings: str):
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    sizes = SIZES | SETTINGS[settings]
    config = AutoConfig.for_model(kind, **sizes)
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config)
    built = {name: tuple(value.shape) for name, value in model.named_parameters(remove_duplicate=False)}
    assert parameters({"model_type": kind, **sizes}) == built
    assert tied({"model_type": kind}) == config.tie_word_embeddings


def test_what_is_not_said_is_not_compared():
    found = parameters({"model_type": "llama", "num_hidden_layers": 1, "hidden_size": 32})
    assert found is not None and found["model.layers.0.self_attn.k_proj.weight"] == (None, 32)
    assert parameters({"model_type": "gpt2", "num_hidden_layers": 1}) is None
    assert tied({"model_type": "gpt2"}) is None
