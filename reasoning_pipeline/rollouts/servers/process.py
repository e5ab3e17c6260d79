"""Owns one vLLM server process: start, wait until it answers, warm up, stop. The owner's side; no torch.

A server whose owner has died leaves by itself (vllm/plugin.py).
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
import time
from importlib.util import find_spec
from pathlib import Path
from typing import IO

from reasoning_pipeline.base.logs import tail
from reasoning_pipeline.base.ownership import stop_with_children
from reasoning_pipeline.errors import ServerError
from reasoning_pipeline.hardware.addresses import free_port
from reasoning_pipeline.hardware.profile import HardwareProfile
from reasoning_pipeline.models.weights import homes
from reasoning_pipeline.rollouts.clients.client import RolloutClient
from reasoning_pipeline.rollouts.servers import register
from reasoning_pipeline.rollouts.servers.command import Service, serve_command, serve_environment
from reasoning_pipeline.rollouts.vllm.plugin import TRANSFER_PREFIX

LOG_LINES_SHOWN = 15
SHARED_MEMORY = Path("/dev/shm")


class RolloutServer:
    """One `vllm serve` process holding one architecture's weights.

    Args:
        folder: Model folder to start from; its tokenizer is served too.
        log: File that receives everything the server prints.
        readable: Folders it may load weights from besides the transfer folder (the registry).
        transfer_folder: Where trainers leave weights for it, shared by several servers; one of its own, removed when
            it stops, where none is given.
        devices: CUDA_VISIBLE_DEVICES; None leaves it as it is.
        register: Folder in which a file says that this server runs (register.py).
    """

    def __init__(
        self,
        folder: Path,
        profile: HardwareProfile,
        log: Path,
        *,
        readable: tuple[Path, ...] = (),
        max_model_len: int | None = None,
        service: Service | None = None,
        transfer_folder: Path | None = None,
        devices: str | None = None,
        register: Path | None = None,
    ) -> None:
        if find_spec("vllm") is None:
            raise ServerError(
                "vLLM is not installed", remedy="`make setup` installs it; or set `engine: transformers` in the profile"
            )
        self.folder, self.profile, self.log = folder, profile, log
        self.service = service or Service()
        self.key = self.service.key
        self._owns_transfer_folder = transfer_folder is None
        self.transfer_folder = transfer_folder or make_private_folder(profile.server.transfer_folder)
        # Whoever reaches the sockets between vLLM's processes needs no key, and vLLM leaves their files behind. In
        # shared memory: a socket has no place on a network file system, and its path no more than some hundred letters.
        self._sockets = make_private_folder()
        self._readable = (self.transfer_folder, *homes(folder), *readable)
        self._max_model_len = max_model_len
        self._devices, self._register = devices, register
        self.warm = False
        self.url = ""
        self._process: subprocess.Popen[bytes] | None = None
        self._client: RolloutClient | None = None
        self._started = 0.0
        self._port_retries = 3

    def start(self) -> None:
        """Launch; returns at once. `wait_ready` waits."""
        port = self.service.port or free_port()
        everywhere = self.service.host in ("0.0.0.0", "::")  # then it is asked from here, through loopback
        self.url = f"http://{'127.0.0.1' if everywhere else self.service.host}:{port}"
        self.warm, self._started = False, time.monotonic()
        self.log.parent.mkdir(parents=True, exist_ok=True)
        log: IO[bytes] = self.log.open("ab")
        try:
            self._process = subprocess.Popen(
                serve_command(self.folder, self.profile, self.service, port, self._max_model_len),
                env=serve_environment(self.profile, self.service, self._readable, self._devices, self._sockets),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C reaches the runner alone, which then stops the server in order
            )
        finally:
            log.close()
        self._client = RolloutClient(
            self.url,
            key=self.key,
            timeout_s=self.profile.server.request_timeout_s,
            silence_s=self.profile.server.silence_timeout_s,
        )
        if self._register is not None:
            register.write(self._register, self._process.pid, url=self.url, model=self.name, log=self.log)

    @property
    def client(self) -> RolloutClient:
        if self._client is None:
            raise ServerError("the rollout server has not been started")
        return self._client

    @property
    def alive(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def name(self) -> str:
        """What it is called in `status` and in requests."""
        return self.service.named(self.folder)

    @property
    def answers(self) -> bool:
        """Whether it is up and answers now."""
        return self.alive and self.client.healthy()

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process is not None else None

    def wait_ready(self) -> None:
        """Block until the server answers and has been warmed up. Raises ServerError with the end of its log."""
        deadline = self._started + self.profile.server.start_timeout_s
        while not self.client.healthy():
            if not self.alive and self._another_port():
                continue
            if not self.alive:
                raise ServerError(
                    f"the rollout server did not start\n{self.log_tail()}", remedy=f"full log: {self.log}"
                )
            if time.monotonic() > deadline:
                self.stop()
                raise ServerError(
                    f"the rollout server did not answer within {self.profile.server.start_timeout_s:.0f} s\n"
                    f"{self.log_tail()}",
                    remedy=f"full log: {self.log}; a slow disk needs a larger server.start_timeout_s in the profile",
                )
            time.sleep(0.2)
        if not self.warm:
            # The first request compiles; without this it would be charged to the first step.
            self.client.score([[0, 0]])
            self.warm = True

    def _another_port(self) -> bool:
        """Whether the process died because somebody took its port in between, and was started again on another."""
        taken = "ddress already in use" in tail(self.log, 200)
        if self._port_retries == 0 or self.service.port is not None or not taken:
            return False
        self._port_retries -= 1
        self.client.close()
        self.start()
        return True

    def stop(self) -> None:
        """Ask, then insist. Leaves nothing behind: no process, no shared memory, no socket."""
        if self._client is not None:
            self._client.close()
        if self._process is not None:
            stop_with_children(self._process.pid)
            with contextlib.suppress(ProcessLookupError):  # what it started while it was being stopped
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            if self._register is not None:
                register.remove(self._register, self._process.pid)
        shutil.rmtree(self._sockets, ignore_errors=True)
        if self._owns_transfer_folder:
            shutil.rmtree(self.transfer_folder, ignore_errors=True)

    def log_tail(self) -> str:
        return tail(self.log, LOG_LINES_SHOWN)


def make_private_folder(parent: Path | None = None) -> Path:
    """A new folder that its user alone may enter: in `parent`, else in shared memory where there is any."""
    parent = parent or (SHARED_MEMORY if SHARED_MEMORY.is_dir() else None)
    return Path(tempfile.mkdtemp(prefix=TRANSFER_PREFIX, dir=parent))
