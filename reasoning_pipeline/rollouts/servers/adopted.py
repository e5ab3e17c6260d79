"""Rollout servers that somebody else started: checked, used, never stopped.

`python -m reasoning_pipeline serve CHECKPOINT --as-rollout-server --readable REGISTRY` starts such a server; a profile
names it under `server.urls`; its key comes from the environment. Weights are pushed and proved as to any other.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from reasoning_pipeline.beside import PIPELINE
from reasoning_pipeline.errors import ServerError
from reasoning_pipeline.hardware.profile import HardwareProfile
from reasoning_pipeline.models.architecture import architecture_digest, bounded_length
from reasoning_pipeline.models.weights import homes
from reasoning_pipeline.rollouts.clients.client import KEY_VARIABLE, RolloutClient


@dataclass(frozen=True)
class AdoptedGroup:
    """Adopted servers of one architecture; see pool.Servers."""

    urls: list[str]
    key: str
    transfer_folder: Path

    @property
    def alive(self) -> bool:
        return True  # their processes may run on another machine; a client notices when they go

    def log_tail(self) -> str:
        return f"    (their logs are where {', '.join(self.urls)} were started)"


class AdoptedServers:
    """The servers of `profile.server.urls`, grouped by architecture.

    Args:
        registry: Every server must be able to read it: checkpoints are loaded from there.
        max_model_len: Longest prompt plus completion that will be asked for, in tokens.
    """

    def __init__(self, profile: HardwareProfile, registry: Path, max_model_len: int) -> None:
        self.profile, self.registry, self.max_model_len = profile, registry.resolve(), max_model_len
        self.key = os.environ.get(KEY_VARIABLE, "")
        if not self.key:
            raise ServerError(
                f"{profile.name}: server.urls adopts servers, and their key is not in the environment",
                remedy=f"export {KEY_VARIABLE}=… as it was when they were started",
            )

    def prestart(self, folder: Path) -> None:
        """They run already."""

    def answers(self, folder: Path) -> bool:
        return True

    starting = False

    def ready(self, folder: Path) -> AdoptedGroup:
        """The servers of this architecture. Raises ServerError with everything that is wrong with them."""
        digest = architecture_digest(folder)
        needed = bounded_length(folder, self.max_model_len) or 0
        problems: list[str] = []
        fitting: list[str] = []
        transfer: set[Path] = set()
        for url in self.profile.server.urls:
            try:
                status, own = self._ask(url)
            except ServerError as error:
                problems.append(f"{url}: {error.message}")
                continue
            if status.get("architecture") != digest:
                continue
            fitting.append(url)
            problems += [f"{url}: {problem}" for problem in self._problems(status, own, folder, needed)]
            transfer.add(Path(own["transfer_folder"] or ""))
        if len(transfer) > 1:
            problems.append(f"they share no transfer folder ({', '.join(sorted(map(str, transfer)))})")
        if not fitting and not problems:
            problems.append(f"none of {', '.join(self.profile.server.urls)} serves the architecture of {folder.name}")
        if problems:
            raise ServerError(
                "the adopted rollout servers cannot be used:\n" + "\n".join(f"  - {problem}" for problem in problems),
                remedy=f"start them with `{PIPELINE} serve CHECKPOINT --as-rollout-server`, the "
                "checkpoint being of the same architecture",
            )
        return AdoptedGroup(fitting, self.key, transfer.pop())

    def restart(self, folder: Path) -> AdoptedGroup:
        """They are not ours to start; somebody else may have."""
        return self.ready(folder)

    def stop(self) -> None:
        """They are not ours to stop."""

    def _ask(self, url: str) -> tuple[dict[str, Any], dict[str, Any]]:
        client = RolloutClient(url, key=self.key, timeout_s=10.0)
        try:
            return client.status(), client.get("/v1/server")
        finally:
            client.close()

    def _problems(self, status: dict[str, Any], own: dict[str, Any], folder: Path, needed: int) -> list[str]:
        problems = []
        if not own["development"] or own["transfer_folder"] is None:
            problems.append("it takes no weights; it was started without --as-rollout-server")
        elif not os.access(own["transfer_folder"], os.W_OK):
            problems.append(f"its transfer folder {own['transfer_folder']} cannot be written from here")
        readable = [Path(name).resolve() for name in own["readable"]]
        for needs in {self.registry, *(home.resolve() for home in homes(folder))}:
            if not any(needs.is_relative_to(allowed) for allowed in readable):
                problems.append(f"it may not read {needs}; start it with --readable {needs}")
        if status["max_model_len"] < needed:
            problems.append(
                f"its context is {status['max_model_len']} tokens, {needed} are needed; start it with "
                f"--max-model-len {needed}"
            )
        return problems
