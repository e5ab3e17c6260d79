"""Rows end to end: each model says of a row what it says of it alone; what cannot keep rows apart is refused."""

from __future__ import annotations

from typing import Any

import pytest

torch = pytest.importorskip("torch")

from transformers import AutoConfig, AutoModelForCausalLM  # noqa: E402

from reasoning_pipeline.errors import PipelineError  # noqa: E402
from reasoning_pipeline.training.packing import hidden_states, keeping_rows_apart, pack  # noqa: E402

ROWS = [([5, 6, 7], [8, 9, 10, 2]), ([5, 6], [11, 2]), ([9, 1], [3, 4, 5, 6, 7]), ([3], [2]), ([4, 4], [7, 2])]


def model_of(kind: str, **more: Any) -> Any:
    torch.manual_seed(0)
    config = AutoConfig.for_model(
        kind, vocab_size=64, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, head_dim=8, initializer_range=0.2, pad_token_id=0, eos_token_id=2, bos_token_id=None,
        **more,
    )  # fmt: skip
    return AutoModelForCausalLM.from_config(config, attn_implementation="sdpa")


def weighed(hidden_NH: torch.Tensor) -> torch.Tensor:
    """A number that depends on every value, each in its own way."""
    return (hidden_NH * torch.randn(hidden_NH.shape, generator=torch.Generator().manual_seed(1))).sum()


def alone(model: Any, rows: Any = ROWS) -> torch.Tensor:
    """[N, H], each row in a forward pass of its own."""
    found = []
    for prompt, completion in rows:
        hidden = model.base_model(torch.tensor([[*prompt, *completion]])).last_hidden_state[0]
        found.append(hidden[len(prompt) - 1 : -1])
    return torch.cat(found)


@pytest.mark.parametrize("kind", ["qwen3", "llama", "qwen2"])
def test_a_row_is_computed_as_if_it_were_alone_and_so_is_its_gradient(kind: str) -> None:
    model = model_of(kind)
    with keeping_rows_apart(model):
        together = hidden_states(model, pack(ROWS, "cpu"))
        weighed(together).backward()
    gradients = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
    model.zero_grad()
    expected = alone(model)
    weighed(expected).backward()
    torch.testing.assert_close(together, expected)
    for name, parameter in model.named_parameters():
        if parameter.grad is not None:
            torch.testing.assert_close(gradients[name], parameter.grad, rtol=1e-4, atol=1e-5)
    assert model.config._attn_implementation == "sdpa", "elsewhere the model is as it was"


def test_a_sliding_window_stays_one() -> None:
    model = model_of("qwen3", use_sliding_window=True, sliding_window=3, max_window_layers=0)
    assert model.config.layer_types == ["sliding_attention"] * 2
    with keeping_rows_apart(model), torch.no_grad():
        together = hidden_states(model, pack(ROWS, "cpu"))
    with torch.no_grad():
        torch.testing.assert_close(together, alone(model))


def test_no_token_is_padding() -> None:
    packed = pack(ROWS, "cpu")
    assert packed.input_ids.shape == (1, sum(len(p) + len(c) for p, c in ROWS))
    assert packed.rows.runs == [(1, 7), (1, 4), (1, 7), (1, 2), (1, 4)]
    assert packed.next_N.tolist() == [token for _, completion in ROWS for token in completion]


def test_an_attention_that_cannot_keep_rows_apart_is_refused() -> None:
    for implementation in ("eager", "flex_attention"):
        model = model_of("qwen3")
        model.config._attn_implementation = implementation
        said = f"{implementation}' of this qwen3 cannot keep rows apart"
        with pytest.raises(PipelineError, match=said), keeping_rows_apart(model):
            pass


def test_layers_that_carry_state_from_row_to_row_are_refused() -> None:
    model = model_of("qwen3")
    model.config.layer_types = ["linear_attention", "full_attention"]
    with pytest.raises(PipelineError, match="linear_attention of this qwen3 carry state"), keeping_rows_apart(model):
        pass


def test_a_layer_that_does_not_ask_for_our_attention_is_noticed() -> None:
    model = model_of("qwen3")
    model.model.layers[1].self_attn.forward = lambda hidden_states, **_: (hidden_states, None)
    with keeping_rows_apart(model), pytest.raises(PipelineError, match="keeps rows apart in 1 of its 2 layers"):
        hidden_states(model, pack(ROWS, "cpu"))


def test_a_row_without_a_prompt_is_refused() -> None:
    with pytest.raises(ValueError, match="without a prompt"):
        pack([([], [3, 2])], "cpu")


def test_gradient_checkpointing_computes_the_same_rows_again() -> None:
    gradients = []
    for checkpointing in (False, True):
        model = model_of("qwen3").train()
        if checkpointing:
            model.gradient_checkpointing_enable()
        with keeping_rows_apart(model):
            weighed(hidden_states(model, pack(ROWS, "cpu"))).backward()
        gradients.append({name: p.grad for name, p in model.named_parameters()})
    for name, gradient in gradients[0].items():
        if gradient is not None:
            torch.testing.assert_close(gradients[1][name], gradient)
