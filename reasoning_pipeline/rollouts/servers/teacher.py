"""The frozen teacher's server, for steps that distil under `teacher: server`.

It stands beside the rollout servers, even where teacher and student share an architecture: no weights may be swapped
into it while it advises.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from reasoning_pipeline.hardware.profile import HardwareProfile
from reasoning_pipeline.recipe.stage import StageConfig
from reasoning_pipeline.rollouts.servers.pool import ServerGroup, ServerPool

SCORING_BYTES = 2**30
"""Bound of what a teacher's server materialises at once for scoring: [tokens, vocabulary] in float32, three times
(logits, their log-softmax, and a copy while the best are picked)."""


def asks_a_server(config: StageConfig, profile: HardwareProfile) -> bool:
    """Whether a step's loss compares a policy with a teacher that the profile puts on a server."""
    return profile.teacher == "server" and {"policy", "teacher"} <= set(type(config).model_fields)


class TeacherServers:
    """At most one server, started when a step first asks for it, stopped with the run or for another architecture.

    Args:
        make_pool: Makes a pool from the profile for scoring; the runner knows its logs, registry and lengths.
    """

    def __init__(self, profile: HardwareProfile, make_pool: Callable[[HardwareProfile], ServerPool]) -> None:
        devices = profile.teacher_devices or profile.server.devices_of(0)
        alone = {"count": 1, "max_servers": 1, "urls": (), "sleep": False, "devices": devices}
        one = profile.server.model_copy(update=alone)
        self.profile, self.make_pool = profile.model_copy(update={"server": one}), make_pool
        self._pool: ServerPool | None = None

    def prestart(self, folder: Path) -> None:
        """Begin to start it; does not wait."""
        if self._pool is None:
            self._pool = self.make_pool(scoring_profile(self.profile, folder))
        self._pool.prestart(folder)

    def ready(self, folder: Path) -> ServerGroup:
        """The server that answers; a dead or silent one is replaced."""
        self.prestart(folder)
        assert self._pool is not None
        return self._pool.ready(folder)

    def stop(self) -> None:
        if self._pool is not None:
            self._pool.stop()


def scoring_profile(profile: HardwareProfile, folder: Path) -> HardwareProfile:
    """The profile for a server that only scores: prefill in chunks so small that SCORING_BYTES holds.

    On CPUs too: vLLM's defect with chunked prefill there (process.py) needs a seeded request; a teacher writes none.
    """
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    vocabulary = config.get("vocab_size") or config["text_config"]["vocab_size"]
    tokens = max(64, min(8192, SCORING_BYTES // (3 * 4 * vocabulary)))
    arguments = ("--enable-chunked-prefill", "--max-num-batched-tokens", str(tokens))
    server = profile.server.model_copy(
        update={
            "max_sequences": min(profile.server.max_sequences, 64, tokens),
            "arguments": (*profile.server.arguments, *arguments),
        }
    )
    return profile.model_copy(update={"server": server})
