"""Which prompt and decoding a suite is asked with."""

from __future__ import annotations

import pytest

from evals.presets import BOXED_SUFFIX, PRESETS, protocol
from reasoning_pipeline.data.config import PromptConfig
from reasoning_pipeline.errors import DataError


def settle(**changed):
    given = {
        "suite_preset": "qwen3-nonthinking",
        "suite_max_tokens": {"qwen3-thinking": 38_912},
        "asked": None,
        "recorded": None,
        "overrides": {},
    }
    return protocol(**{**given, **changed})


def test_qwen3s_two_modes_are_those_of_its_card():
    thinking, plain = PRESETS["qwen3-thinking"], PRESETS["qwen3-nonthinking"]
    assert (thinking.decoding.temperature, thinking.decoding.top_p, thinking.decoding.top_k) == (0.6, 0.95, 20)
    assert (plain.decoding.temperature, plain.decoding.top_p, plain.decoding.top_k) == (0.7, 0.8, 20)
    assert thinking.prompt.thinking and not plain.prompt.thinking
    assert "\\boxed{}" in BOXED_SUFFIX


def test_the_suites_preset_unless_something_else_is_known():
    assert settle().prompt == PRESETS["qwen3-nonthinking"].prompt
    assert settle(asked="qwen3-thinking").decoding.max_tokens == 38_912
    recorded = PromptConfig(suffix=" Think!", thinking=False)
    assert settle(recorded=recorded).prompt == recorded
    assert settle(recorded=recorded, asked="boxed").prompt == PRESETS["boxed"].prompt


def test_a_checkpoint_that_thinks_gets_the_decoding_of_thinking():
    settled = settle(recorded=PromptConfig(thinking=True))
    assert (settled.preset, settled.decoding.temperature, settled.prompt.thinking) == ("qwen3-thinking", 0.6, True)


def test_what_is_said_on_the_command_line_wins():
    settled = settle(overrides={"temperature": 0.0, "max_tokens": None, "seed": 3}, asked="qwen3-thinking")
    assert (settled.decoding.temperature, settled.decoding.max_tokens, settled.decoding.seed) == (0.0, 38_912, 3)
    assert settle(overrides={"max_tokens": 5}, asked="qwen3-thinking").decoding.max_tokens == 5


def test_an_unknown_preset_names_those_there_are():
    with pytest.raises(DataError, match=r'(?s)"qwen4".*qwen3-thinking'):
        settle(asked="qwen4")
