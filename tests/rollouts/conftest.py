"""One real vLLM server for the whole folder."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from reasoning_pipeline.hardware.addresses import free_port
from reasoning_pipeline.hardware.profile import load_profile
from reasoning_pipeline.rollouts.servers import process as server_module
from reasoning_pipeline.rollouts.servers.process import RolloutServer


@pytest.fixture(scope="session")
def taken_port() -> Iterator[int]:
    """A port on which somebody listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        yield taken.getsockname()[1]


@pytest.fixture(scope="session")
def server(
    tiny_model: Path, other_model: Path, taken_port: int, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RolloutServer]:
    log = tmp_path_factory.mktemp("server") / "server.log"
    ports = iter([taken_port])
    started = RolloutServer(tiny_model, load_profile("cpu"), log, readable=(tiny_model, other_model))
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(server_module, "free_port", lambda: next(ports, None) or free_port())
            started.start()
            started.wait_ready()
        yield started
    finally:
        started.stop()
    assert not started.transfer_folder.exists(), "stopping a server leaves no shared memory behind"
