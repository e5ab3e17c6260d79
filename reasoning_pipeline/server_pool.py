"""The rollout servers of one run: one for each architecture, started early, swapped by weights, stopped at the end."""

from __future__ import annotations

from pathlib import Path

from reasoning_pipeline.errors import ServerError
from reasoning_pipeline.hardware import HardwareProfile
from reasoning_pipeline.rollouts.server import RolloutServer
from reasoning_pipeline.rollouts.session import architecture, bounded_length


class ServerPool:
    """Keeps at most `max_servers` alive; the one used longest ago goes first.

    Args:
        logs: Folder of the servers' logs.
        max_model_len: Longest prompt plus completion that the plan asks for, in tokens.
    """

    def __init__(self, profile: HardwareProfile, logs: Path, registry: Path, max_model_len: int) -> None:
        self.profile, self.logs, self.registry, self.max_model_len = profile, logs, registry, max_model_len
        self._servers: dict[str, RolloutServer] = {}
        self.starts = 0

    def prestart(self, folder: Path) -> None:
        """Begin to start a server for this architecture if there is room; does not wait."""
        if architecture(folder) not in self._servers and len(self._servers) < self.profile.server.max_servers:
            self._start(folder)

    def answers(self, folder: Path) -> bool:
        """Whether a server of this architecture is up already."""
        server = self._servers.get(architecture(folder))
        return server is not None and server.alive and server.client.healthy()

    @property
    def starting(self) -> bool:
        """Whether a server is still coming up, which takes a core of its own."""
        return any(server.alive and not server.client.healthy() for server in self._servers.values())

    def ready(self, folder: Path) -> RolloutServer:
        """A server of this folder's architecture that answers."""
        key = architecture(folder)
        server = self._servers.pop(key, None)
        if server is not None and not server.alive:
            server.stop()
            server = None
        if server is None:
            while len(self._servers) >= self.profile.server.max_servers:
                self._servers.pop(next(iter(self._servers))).stop()
            server = self._start(folder)
        self._servers[key] = server  # newest last
        server.wait_ready()
        return server

    def restart(self, folder: Path) -> RolloutServer:
        """Replace a server that was lost."""
        server = self._servers.pop(architecture(folder), None)
        if server is not None:
            server.stop()
        return self.ready(folder)

    def stop(self) -> None:
        """End every server; safe to call twice."""
        while self._servers:
            _, server = self._servers.popitem()
            server.stop()

    def _start(self, folder: Path) -> RolloutServer:
        self.starts += 1
        server = RolloutServer(
            folder,
            self.profile,
            self.logs / f"server-{self.starts}.log",
            readable=(self.registry, folder),
            max_model_len=bounded_length(folder, self.max_model_len),
        )
        server.log.unlink(missing_ok=True)
        try:
            server.start()
        except OSError as error:
            server.stop()
            raise ServerError(f"the rollout server could not be started: {error}") from error
        self._servers[architecture(folder)] = server
        return server
