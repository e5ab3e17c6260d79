"""A published system made ready to answer: its base and adapters in a vLLM of its own, or in this process."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from reasoning_pipeline.data.config import PromptConfig
from reasoning_pipeline.data.prompts import PromptRenderer
from reasoning_pipeline.hardware.profile import HardwareProfile
from reasoning_pipeline.models.adapters import rank_of
from reasoning_pipeline.models.architecture import bounded_length
from reasoning_pipeline.rollouts.clients.completions import Sampler
from reasoning_pipeline.run.speaking import Speaker
from reasoning_pipeline.workflows.user_logs.roles import Judge, judge
from reasoning_pipeline.workflows.user_logs.settings import Judging
from reasoning_pipeline.workflows.user_logs.system import System, model_beside

AT_ONCE = 8
"""Adapters in one batch of the server; the others wait in its memory."""


@contextmanager
def opened_system(
    folder: Path, profile: HardwareProfile, prompt: PromptConfig | None
) -> Iterator[tuple[System, Speaker]]:
    """The system and what it speaks with; a server that was started for it is stopped afterwards."""
    if profile.engine == "transformers":
        system, speaker = open_system(folder, profile, prompt)
        system.check()
        yield system, speaker
        return
    from reasoning_pipeline.rollouts.servers.process import RolloutServer, Service

    system = System.load(folder, device=profile.device, dtype=profile.precision)
    adapters = sorted(folder.glob("adapters/*"))
    rank = max(map(rank_of, adapters), default=1)
    longest = system.thresholds.max_prompt_tokens + system.thresholds.max_completion_tokens
    server = RolloutServer(
        system.base.resolve(),
        profile,
        Path(tempfile.gettempdir()) / f"reasoning-pipeline-{os.getpid()}-{folder.name}.log",
        readable=(folder.resolve(),),
        max_model_len=bounded_length(system.base, longest, trains=False),
        service=Service(
            name=folder.name, development=False, adapters=(rank, min(len(adapters), AT_ONCE)) if adapters else None
        ),
        devices=profile.server.devices_of(0),
    )
    try:
        server.start()
        server.wait_ready()
        system.check()
        yield system, _speaker(system, server.client, prompt)
    finally:
        server.stop()


def open_system(
    folder: Path, profile: HardwareProfile, prompt: PromptConfig | None, *, between: Callable[[], None] = lambda: None
) -> tuple[System, Speaker]:
    """The system, and its base model with the adapters beside it in this process."""
    from reasoning_pipeline.rollouts.adapted import AdaptedModel

    system = System.load(folder, device=profile.device, dtype=profile.precision)
    model = AdaptedModel(system.base, dtype=profile.precision, device=profile.device)
    return system, _speaker(system, model, prompt, between)


@contextmanager
def opened_judge(
    name: str, system: System, judging: Judging, profile: HardwareProfile, prompt: PromptConfig | None, *, seed: int
) -> Iterator[Judge]:
    """A model that scores what this system answered, on a server that is stopped afterwards or in this process."""
    from reasoning_pipeline.rollouts.session import rollout_session

    folder, limit = model_beside(system.folder, name), system.judge_reads
    renderer = PromptRenderer.from_folder(folder, prompt)
    length = limit + judging.max_tokens
    with rollout_session(folder, hardware=profile, max_model_len=length, label="judge") as sampler:
        yield judge(Speaker(sampler, renderer, version=folder.name, max_prompt_tokens=limit), judging, seed)


def _speaker(
    system: System, sampler: Sampler, prompt: PromptConfig | None, between: Callable[[], None] = lambda: None
) -> Speaker:
    return Speaker(
        sampler,
        PromptRenderer.from_folder(system.base, prompt),
        version=system.base.name,
        max_prompt_tokens=system.thresholds.max_prompt_tokens,
        between=between,
    )
