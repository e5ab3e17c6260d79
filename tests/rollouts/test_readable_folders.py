"""Which folders a server may read weights from: a list that survives whatever folders are called."""

from __future__ import annotations

from pathlib import Path

import pytest

from reasoning_pipeline.hardware.profile import HardwareProfile
from reasoning_pipeline.models.weights import homes, weight_files
from reasoning_pipeline.rollouts.servers.command import Service, serve_environment
from reasoning_pipeline.rollouts.servers.pool import ServerPool
from reasoning_pipeline.rollouts.session import rollout_session
from reasoning_pipeline.rollouts.vllm.plugin import FOLDERS_VARIABLE, allowed_path
from tests.rollouts.test_servers import NoServer


def test_a_folder_with_a_colon_in_its_name_can_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = tmp_path / "runs 2026-11-28 10:30" / "registry"
    root.mkdir(parents=True)
    environment = serve_environment(HardwareProfile(), Service(), (tmp_path / "transfer", root))
    monkeypatch.setenv(FOLDERS_VARIABLE, environment[FOLDERS_VARIABLE])
    assert allowed_path(str(root / "a" / "model.safetensors")) == root / "a" / "model.safetensors"
    for outside in (tmp_path / "other", Path("30/registry").resolve()):
        with pytest.raises(ValueError, match="outside the folders"):
            allowed_path(str(outside))
    monkeypatch.delenv(FOLDERS_VARIABLE)
    with pytest.raises(ValueError, match="outside the folders"):
        allowed_path(str(root))


def in_the_hubs_cache(model: Path, cache: Path) -> Path:
    """A snapshot as the hub's client leaves it: files lie beside it, under other names, and it links to them."""
    snapshot, blobs = cache / "snapshots" / "c0", cache / "blobs"
    snapshot.mkdir(parents=True)
    blobs.mkdir()
    for number, path in enumerate(sorted(model.iterdir())):
        (blobs / str(number)).write_bytes(path.read_bytes())
        (snapshot / path.name).symlink_to(blobs / str(number))
    return snapshot


def test_weights_that_a_folder_links_to_can_be_read_and_nothing_more(tiny_model: Path, tmp_path: Path) -> None:
    snapshot = in_the_hubs_cache(tiny_model, tmp_path / "models--me--tiny")
    assert homes(snapshot) == (snapshot, tmp_path / "models--me--tiny" / "blobs")
    assert homes(tiny_model) == (tiny_model,)


def test_a_runs_servers_read_every_model_from_outside(
    tiny_model: Path, other_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Weights of a second model of one architecture are swapped into the server that was started with the first."""
    monkeypatch.setattr("reasoning_pipeline.rollouts.servers.pool.RolloutServer", NoServer)
    first, second = (
        in_the_hubs_cache(model, tmp_path / f"models--me--{model.name}") for model in (tiny_model, other_model)
    )
    pool = ServerPool(HardwareProfile(), tmp_path / "logs", tmp_path / "registry", 64, outside=[first, second])
    (server,) = pool.ready(first).servers
    environment = serve_environment(HardwareProfile(), Service(), server.options["readable"])  # type: ignore[attr-defined]
    pool.stop()
    monkeypatch.setenv(FOLDERS_VARIABLE, environment[FOLDERS_VARIABLE])
    for folder in (first, second):
        (file,) = weight_files(folder)
        assert allowed_path(str(file.resolve())) == file.resolve()


@pytest.mark.slow
def test_a_real_server_takes_weights_out_of_the_hubs_cache(tiny_model: Path, other_model: Path, tmp_path: Path) -> None:
    first, second = (
        in_the_hubs_cache(model, tmp_path / f"models--me--{model.name}") for model in (tiny_model, other_model)
    )
    with rollout_session(first, hardware="cpu", max_model_len=64, others=[second]) as session:
        session.load_checkpoint(second)  # begins with the first, as every evaluation does
