"""Which folders a server may read weights from: a list that survives whatever folders are called."""

from __future__ import annotations

from pathlib import Path

import pytest

from reasoning_pipeline.hardware.profile import HardwareProfile
from reasoning_pipeline.rollouts.servers.process import RolloutServer
from reasoning_pipeline.rollouts.vllm.plugin import FOLDERS_VARIABLE, allowed_path


def test_a_folder_with_a_colon_in_its_name_can_be_read(
    tmp_path: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "runs 2026-11-28 10:30" / "registry"
    root.mkdir(parents=True)
    server = RolloutServer(tiny_model, HardwareProfile(), tmp_path / "log", readable=(root,))
    monkeypatch.setenv(FOLDERS_VARIABLE, server._environment()[FOLDERS_VARIABLE])
    server.stop()
    assert allowed_path(str(root / "a" / "model.safetensors")) == root / "a" / "model.safetensors"
    for outside in (tmp_path / "other", Path("30/registry").resolve()):
        with pytest.raises(ValueError, match="outside the folders"):
            allowed_path(str(outside))
    monkeypatch.delenv(FOLDERS_VARIABLE)
    with pytest.raises(ValueError, match="outside the folders"):
        allowed_path(str(root))
