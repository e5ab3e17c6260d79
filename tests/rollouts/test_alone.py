"""A server beside a trainer takes the share that its profile says; alone it takes the machine."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from reasoning_pipeline.hardware.profile import HardwareProfile, ServerProfile, load_profile
from reasoning_pipeline.rollouts.servers import alone
from reasoning_pipeline.rollouts.servers.alone import alone_on_this_machine
from reasoning_pipeline.rollouts.servers.command import Service, serve_environment
from tests.models.folders import edit


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Twelve cores, 20 GiB free."""
    monkeypatch.setattr(alone, "cores", lambda: 12)
    monkeypatch.setattr(alone.psutil, "virtual_memory", lambda: SimpleNamespace(available=20 * 2**30))


def environment(profile: HardwareProfile) -> tuple[str | None, str]:
    found = serve_environment(profile, Service(key="k"))
    return found.get("OMP_NUM_THREADS"), found["VLLM_CPU_KVCACHE_SPACE"]


def test_beside_a_trainer_a_share(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    assert environment(load_profile("cpu")) == ("1", "1")
    assert environment(HardwareProfile()) == ("7", "1")  # a profile that says nothing leaves it as it is


def test_alone_all_cores_and_a_cache_that_its_requests_can_fill(machine: None, big: Path) -> None:
    # 2 (keys, values) x 30 layers x 3 heads x 64 x 4 bytes = 46,080 bytes a token; 512 sequences of 256: 5.6 GiB
    assert environment(alone_on_this_machine(load_profile("cpu"), big, 256)) == ("12", "6")
    # 512 sequences of the model's 8,192 positions would be 180 GiB: half of what is free
    assert environment(alone_on_this_machine(load_profile("cpu"), big, None)) == ("12", "10")


def test_never_less_than_the_profile_says(machine: None, tiny_model: Path) -> None:
    profile = HardwareProfile(server=ServerProfile(kv_cache_gib=3, threads=1))
    assert environment(alone_on_this_machine(profile, tiny_model, 16)) == ("12", "3")


def test_what_a_profile_sets_itself_goes_before(machine: None, tiny_model: Path) -> None:
    profile = HardwareProfile(server=ServerProfile(environment={"OMP_NUM_THREADS": "5"}))
    assert environment(alone_on_this_machine(profile, tiny_model, 16))[0] == "5"


def test_a_gpu_has_memory_of_its_own(machine: None, tiny_model: Path) -> None:
    profile = HardwareProfile(device="cuda")
    assert alone_on_this_machine(profile, tiny_model, 16) is profile


@pytest.fixture
def big(tmp_path: Path) -> Path:
    """The configuration of a model of 135 M parameters."""
    (tmp_path / "config.json").write_text("{}")
    size = {"num_hidden_layers": 30, "num_attention_heads": 9, "num_key_value_heads": 3, "hidden_size": 576}
    edit(tmp_path / "config.json", lambda config: config.update(size, max_position_embeddings=8192))
    return tmp_path
