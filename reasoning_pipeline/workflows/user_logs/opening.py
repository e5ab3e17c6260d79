"""A published system made ready to answer in this process."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from reasoning_pipeline.data.config import PromptConfig
from reasoning_pipeline.data.prompts import PromptRenderer
from reasoning_pipeline.hardware.profile import HardwareProfile
from reasoning_pipeline.rollouts.adapted import AdaptedModel
from reasoning_pipeline.run.speaking import Speaker
from reasoning_pipeline.workflows.user_logs.system import System


def open_system(
    folder: Path, profile: HardwareProfile, prompt: PromptConfig | None, *, between: Callable[[], None] = lambda: None
) -> tuple[System, Speaker]:
    """The system, and its base model with the adapters beside it."""
    system = System.load(folder)
    system.device, system.dtype = profile.device, profile.precision
    speaker = Speaker(
        AdaptedModel(system.base, dtype=profile.precision, device=profile.device),
        PromptRenderer.from_folder(system.base, prompt),
        version=system.base.name,
        max_prompt_tokens=system.thresholds.max_prompt_tokens,
        between=between,
    )
    return system, speaker
