"""The rollout servers of one run: a group for each architecture, swapped by weights, stopped at the end.

A profile says how many servers a group has (`server.count`) or which to adopt (`server.urls`: somebody else's, never
stopped). All servers that a run starts share one random key and one transfer folder.
"""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from reasoning_pipeline.base.logs import new_attempt
from reasoning_pipeline.errors import ServerError
from reasoning_pipeline.hardware.cluster import server_host
from reasoning_pipeline.hardware.profile import HardwareProfile
from reasoning_pipeline.models.architecture import architecture, bounded_length
from reasoning_pipeline.models.weights import homes
from reasoning_pipeline.rollouts.servers.adopted import AdoptedServers
from reasoning_pipeline.rollouts.servers.command import Service
from reasoning_pipeline.rollouts.servers.process import RolloutServer, make_private_folder


class Servers(Protocol):
    """What a step needs to know of the servers that write its rollouts."""

    @property
    def urls(self) -> list[str]: ...

    @property
    def key(self) -> str: ...

    @property
    def transfer_folder(self) -> Path: ...

    @property
    def alive(self) -> bool:
        """Whether at least one process is there; a fleet goes on with what is left."""
        ...

    def log_tail(self) -> str: ...


class Pool(Protocol):
    """Where the runner gets servers from: its own (below) or adopted ones."""

    def prestart(self, folder: Path) -> None:
        """Begin to start servers for this architecture if there is room; does not wait."""
        ...

    def answers(self, folder: Path) -> bool:
        """Whether servers of this architecture are up already."""
        ...

    @property
    def starting(self) -> bool:
        """Whether a server is still coming up, which takes a core of its own."""
        ...

    def ready(self, folder: Path) -> Servers:
        """Servers of this folder's architecture that answer."""
        ...

    def restart(self, folder: Path) -> Servers:
        """Replace what was lost."""
        ...

    def stop(self) -> None: ...


@dataclass(frozen=True)
class ServerGroup:
    """The servers of one architecture."""

    servers: list[RolloutServer]

    @property
    def urls(self) -> list[str]:
        return [server.url for server in self.servers]

    @property
    def key(self) -> str:
        return self.servers[0].key

    @property
    def transfer_folder(self) -> Path:
        return self.servers[0].transfer_folder

    @property
    def alive(self) -> bool:
        return any(server.alive for server in self.servers)

    @property
    def answers(self) -> bool:
        return all(server.answers for server in self.servers)

    def log_tail(self) -> str:
        """The last lines of the logs, those of the dead where some live."""
        told = [server for server in self.servers if not server.alive] or self.servers
        return "\n".join(f"  {server.log}:\n{server.log_tail()}" for server in told)

    def stop(self) -> None:
        for server in self.servers:
            server.stop()


class ServerPool:
    """Servers of this run. Keeps at most `max_servers` groups; the one used longest ago goes first.

    Args:
        logs: Folder of the servers' logs.
        max_model_len: Longest prompt plus completion that the plan asks for, in tokens.
        register: Folder in which each server that runs has a file, for `status`.
        outside: Models that no step made: weights of each may be swapped into a server of its architecture.
    """

    def __init__(
        self,
        profile: HardwareProfile,
        logs: Path,
        registry: Path,
        max_model_len: int,
        *,
        register: Path | None = None,
        outside: Sequence[Path] = (),
    ) -> None:
        self.profile, self.logs, self.registry, self.max_model_len = profile, logs, registry, max_model_len
        self.register, self.outside = register, tuple(outside)
        self._groups: dict[str, ServerGroup] = {}
        self._key = secrets.token_urlsafe(32)
        self._transfer_folder: Path | None = None
        self.starts = 0

    def prestart(self, folder: Path) -> None:
        if architecture(folder) not in self._groups and len(self._groups) < self.profile.server.max_servers:
            self._start_group(folder)

    def answers(self, folder: Path) -> bool:
        group = self._groups.get(architecture(folder))
        return group is not None and group.answers

    @property
    def starting(self) -> bool:
        return any(server.alive and not server.answers for group in self._groups.values() for server in group.servers)

    def ready(self, folder: Path) -> ServerGroup:
        """Servers of this folder's architecture that answer; dead and silent ones are replaced."""
        name = architecture(folder)
        group = self._groups.pop(name, None)
        if group is None:
            while len(self._groups) >= self.profile.server.max_servers:
                self._groups.pop(next(iter(self._groups))).stop()
            group = self._start_group(folder)
        self._groups[name] = group  # newest last
        for number, server in enumerate(group.servers):
            if not server.alive or (server.warm and not server.answers):
                server.stop()
                group.servers[number] = self._start(folder, number)
        for server in group.servers:
            server.wait_ready()
        return group

    def restart(self, folder: Path) -> ServerGroup:
        """Replace the servers that were lost; all of them where none looks lost from here."""
        group = self._groups.get(architecture(folder))
        if group is not None and group.answers:
            self._groups.pop(architecture(folder)).stop()
        return self.ready(folder)

    def stop(self) -> None:
        """End every server; safe to call twice."""
        while self._groups:
            _, group = self._groups.popitem()
            group.stop()
        if self._transfer_folder is not None:
            shutil.rmtree(self._transfer_folder, ignore_errors=True)

    def _start_group(self, folder: Path) -> ServerGroup:
        group = ServerGroup([])
        self._groups[architecture(folder)] = group  # first, so that `stop` finds what has started
        for number in range(self.profile.server.count):
            group.servers.append(self._start(folder, number))
        return group

    def _start(self, folder: Path, number: int) -> RolloutServer:
        self.starts += 1
        self._transfer_folder = self._transfer_folder or make_private_folder(self.profile.server.transfer_folder)
        server = RolloutServer(
            folder,
            self.profile,
            self.logs / f"server-{self.starts}.log",
            readable=(self.registry, *(home for model in self.outside for home in homes(model))),
            max_model_len=bounded_length(folder, self.max_model_len),
            service=Service(key=self._key, host=server_host(self.profile.slurm)),
            transfer_folder=self._transfer_folder,
            devices=self.profile.server.devices_of(number),
            register=self.register,
        )
        new_attempt(server.log)
        try:
            server.start()
        except OSError as error:
            server.stop()
            raise ServerError(f"the rollout server could not be started: {error}") from error
        return server


def server_pool(
    profile: HardwareProfile,
    logs: Path,
    registry: Path,
    max_model_len: int,
    register: Path,
    outside: Sequence[Path],
) -> Pool:
    """The servers that a profile asks for: started here, or adopted."""
    if profile.server.urls:
        return AdoptedServers(profile, registry, max_model_len)
    return ServerPool(profile, logs, registry, max_model_len, register=register, outside=outside)
