"""One real vLLM server for the whole folder."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from reasoning_pipeline.hardware import load_profile
from reasoning_pipeline.rollouts.server import RolloutServer


@pytest.fixture(scope="session")
def server(tiny_model: Path, other_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RolloutServer]:
    log = tmp_path_factory.mktemp("server") / "server.log"
    started = RolloutServer(tiny_model, load_profile("cpu"), log, readable=(tiny_model, other_model))
    try:
        started.start()
        started.wait_ready()
        yield started
    finally:
        started.stop()
    assert not started.transfer_folder.exists(), "stopping a server leaves no shared memory behind"
