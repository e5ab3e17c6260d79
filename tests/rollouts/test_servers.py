"""The register of servers, and the pool with servers that are none."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from reasoning_pipeline.errors import ServerError
from reasoning_pipeline.hardware.profile import HardwareProfile, ServerProfile
from reasoning_pipeline.rollouts.clients.client import KEY_VARIABLE
from reasoning_pipeline.rollouts.servers import pool as pool_module
from reasoning_pipeline.rollouts.servers import register
from reasoning_pipeline.rollouts.servers.adopted import AdoptedServers
from reasoning_pipeline.rollouts.servers.pool import ServerPool

LONG_KEY = "0123456789abcdef"


def test_the_file_of_a_server_that_is_gone_is_removed_and_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    folder = tmp_path / register.FOLDER
    register.write(folder, child.pid, url="http://127.0.0.1:1", model="tiny", log=tmp_path / "x.log")
    elsewhere = json.loads((folder / f"{child.pid}.json").read_text()) | {"host": "another-node"}
    (folder / "7.json").write_text(json.dumps(elsewhere))
    assert [entry.model for entry in register.read(folder)[0]] == ["tiny", "tiny"]
    child.kill()
    child.wait()
    running, gone = register.read(folder)
    assert [entry.host for entry in running] == ["another-node"], "of another machine nobody here can say"
    assert [entry.pid for entry in gone] == [child.pid] and register.read(folder)[1] == []
    (folder / "7.json").write_text("not a record")
    assert register.read(folder) == ([], []) and not list(folder.iterdir())


def test_a_profile_gives_each_server_devices_of_its_own() -> None:
    assert ServerProfile(count=2, devices=("0", "1")).devices_of(1) == "1"
    assert ServerProfile(devices="0,1").devices_of(0) == "0,1"
    for wrong, sentence in (
        ({"count": 2, "devices": "0"}, "2 servers would share devices '0'"),
        ({"count": 2, "devices": ("0",)}, "devices names 1 servers, count is 2"),
        ({"count": 2, "urls": ("http://a",)}, "leave one out"),
    ):
        with pytest.raises(ValueError, match=sentence):
            ServerProfile(**wrong)  # type: ignore[arg-type]


class NoServer:
    """Stands where the pool would start vLLM."""

    def __init__(self, folder: Path, profile: Any, log: Path, **options: Any) -> None:
        self.folder, self.log, self.options = folder, log, options
        self.url, self.key = f"http://{log.stem}", options["service"].key
        self.transfer_folder = options["transfer_folder"]
        self.alive = self.answers = self.warm = False
        self.stopped = 0

    def start(self) -> None:
        self.alive = True

    def wait_ready(self) -> None:
        self.answers = self.warm = True

    def stop(self) -> None:
        self.alive = self.answers = False
        self.stopped += 1

    def log_tail(self) -> str:
        return f"the end of {self.log.name}"


@pytest.fixture
def pool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ServerPool:
    monkeypatch.setattr(pool_module, "RolloutServer", NoServer)
    for name, width in (("a", 8), ("b", 16), ("c", 32)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.json").write_text(json.dumps({"hidden_size": width}))
    profile = HardwareProfile(device="cuda", server=ServerProfile(count=2, devices=("0", "1"), max_servers=2))
    return ServerPool(profile, tmp_path / "logs", tmp_path, 64)


def test_a_group_has_one_key_one_transfer_folder_and_devices_for_each(pool: ServerPool, tmp_path: Path) -> None:
    group: Any = pool.ready(tmp_path / "a")
    assert group.urls == ["http://server-1", "http://server-2"]
    assert [server.options["devices"] for server in group.servers] == ["0", "1"]
    assert (
        len({server.key for server in group.servers}) == len({server.transfer_folder for server in group.servers}) == 1
    )
    assert group.transfer_folder.is_dir()
    pool.stop()
    assert not group.transfer_folder.exists() and [server.stopped for server in group.servers] == [1, 1]


def test_a_dead_or_silent_server_is_replaced_when_the_next_step_starts(pool: ServerPool, tmp_path: Path) -> None:
    group: Any = pool.ready(tmp_path / "a")
    dead, living = group.servers
    dead.alive = dead.answers = False
    assert group.alive, "a step goes on with what is left"
    assert group.log_tail().endswith("the end of server-1.log") and "server-2" not in group.log_tail()
    assert pool.ready(tmp_path / "a").urls == ["http://server-3", "http://server-2"]
    assert (dead.stopped, living.stopped) == (1, 0)
    living.answers = False  # its process is there, frozen
    assert pool.ready(tmp_path / "a").urls == ["http://server-3", "http://server-4"]
    assert pool.restart(tmp_path / "a").urls == ["http://server-5", "http://server-6"], "none looks lost: all are"
    pool.stop()


def test_the_group_used_longest_ago_makes_room(pool: ServerPool, tmp_path: Path) -> None:
    groups: dict[str, Any] = {name: pool.ready(tmp_path / name) for name in ("a", "b")}
    pool.ready(tmp_path / "a")
    pool.ready(tmp_path / "c")
    assert [server.stopped for name in ("a", "b") for server in groups[name].servers] == [0, 0, 1, 1]
    pool.stop()


def test_adopting_without_a_key_says_where_it_belongs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(KEY_VARIABLE, raising=False)
    profile = HardwareProfile(server=ServerProfile(urls=("http://127.0.0.1:1",)))
    with pytest.raises(ServerError, match=KEY_VARIABLE):
        AdoptedServers(profile, tmp_path, 64)
