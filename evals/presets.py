"""Named protocols: how a question is put and how answers are drawn, as one word that every result records.

Qwen3's two modes follow its model card ("Best Practices"): they are two different models as far as a score is
concerned, so a result always says which one was asked. The card's presence penalty (1.5, optional, thinking off) is
not sent: `Decoding` has no such field, and a score with it is not comparable with one without.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from reasoning_pipeline.data.config import PromptConfig
from reasoning_pipeline.errors import DataError
from reasoning_pipeline.records import Decoding

BOXED_SUFFIX = "\n\nPlease reason step by step, and put your final answer within \\boxed{}."
"""The sentence Qwen3's card recommends for mathematics."""


@dataclass(frozen=True, kw_only=True)
class Preset:
    """A prompt and its decoding. `decoding.seed` is a placeholder: the seed belongs to the run.

    Example:
        PRESETS["qwen3-thinking"].decoding.top_p == 0.95
    """

    name: str
    prompt: PromptConfig
    decoding: Decoding


PRESETS = {
    preset.name: preset
    for preset in (
        Preset(
            name="qwen3-nonthinking",
            prompt=PromptConfig(suffix=BOXED_SUFFIX, thinking=False),
            decoding=Decoding(temperature=0.7, top_p=0.8, top_k=20, min_p=0.0, max_tokens=32_768),
        ),
        Preset(
            name="qwen3-thinking",
            prompt=PromptConfig(suffix=BOXED_SUFFIX, thinking=True),
            decoding=Decoding(temperature=0.6, top_p=0.95, top_k=20, min_p=0.0, max_tokens=32_768),
        ),
        # The distribution the policy was trained on, nothing added: what a training curve should be compared with.
        Preset(
            name="boxed",
            prompt=PromptConfig(suffix=BOXED_SUFFIX, thinking=False),
            decoding=Decoding(max_tokens=4_096),
        ),
        Preset(name="plain", prompt=PromptConfig(), decoding=Decoding(max_tokens=32)),
    )
}


def preset(name: str) -> Preset:
    if name not in PRESETS:
        raise DataError(f'no preset is called "{name}"', remedy=f"choose one of: {', '.join(PRESETS)}")
    return PRESETS[name]


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """What one suite is asked with on one checkpoint, and which preset it came from."""

    preset: str
    prompt: PromptConfig
    decoding: Decoding


def protocol(
    *,
    suite_preset: str,
    suite_max_tokens: dict[str, int],
    asked: str | None,
    recorded: PromptConfig | None,
    overrides: dict[str, Any],
) -> Protocol:
    """Settle prompt and decoding: the preset asked for, else the checkpoint's own prompt, else the suite's preset.

    A checkpoint of ours records the prompt it was trained with; asking it differently would measure the prompt.
    `overrides` are the values given on the command line (None where nothing was said); they always win.
    """
    chosen = preset(asked or suite_preset)
    prompt = chosen.prompt
    if asked is None and recorded is not None:
        prompt = recorded
        if recorded.thinking and chosen.name == "qwen3-nonthinking":  # its decoding belongs to the other mode
            chosen = PRESETS["qwen3-thinking"]
    given = {name: value for name, value in overrides.items() if value is not None}
    if "max_tokens" not in given and chosen.name in suite_max_tokens:
        given["max_tokens"] = suite_max_tokens[chosen.name]
    return Protocol(preset=chosen.name, prompt=prompt, decoding=replace(chosen.decoding, **given))
