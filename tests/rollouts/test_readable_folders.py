"""Which folders a server may read weights from: a list that survives whatever folders are called."""

from __future__ import annotations

from pathlib import Path

import pytest

from reasoning_pipeline.hardware.profile import HardwareProfile
from reasoning_pipeline.rollouts.servers.command import Service, serve_environment
from reasoning_pipeline.rollouts.vllm.plugin import FOLDERS_VARIABLE, allowed_path


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
