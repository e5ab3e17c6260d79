"""One runner a folder: the second learns who holds it; what a dead one left is taken over."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from reasoning_pipeline import run_lock as module
from reasoning_pipeline.errors import PipelineError
from reasoning_pipeline.ownership import alive
from reasoning_pipeline.run_lock import LOCK, run_lock

HOLD = """
import sys, time
from pathlib import Path
from reasoning_pipeline.run_lock import run_lock
with run_lock(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


def holder_of(folder: Path) -> dict:
    return json.loads((folder / LOCK).read_text())


def test_the_lock_is_there_while_it_is_held_and_gone_afterwards(tmp_path: Path):
    with run_lock(tmp_path):
        assert holder_of(tmp_path)["pid"] == os.getpid()
        assert [path.name for path in tmp_path.iterdir()] == [LOCK]
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(RuntimeError), run_lock(tmp_path):
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []


def test_another_process_is_refused_until_it_dies_however_it_dies(tmp_path: Path):
    other = subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    try:
        assert other.stdout is not None and other.stdout.readline() == "held\n"
        with pytest.raises(PipelineError) as error, run_lock(tmp_path):
            pass
        host = socket.gethostname()
        assert error.value.message == (
            f"{tmp_path}: another run of this recipe is at work (process {other.pid} on {host})"
        )
        assert error.value.remedy == f"wait for it or stop it; if that machine is gone, remove {tmp_path / LOCK}"
        assert holder_of(tmp_path)["pid"] == other.pid  # the refused one took nothing away
    finally:
        other.kill()
        other.wait()
    with run_lock(tmp_path):
        assert holder_of(tmp_path)["pid"] == os.getpid()


def hold(folder: Path, **fields: object) -> None:
    mine = {"host": socket.gethostname(), "pid": os.getpid(), "started": psutil.Process().create_time()}
    (folder / LOCK).write_text(json.dumps(mine | fields))


def test_a_process_id_used_again_is_not_the_old_holder(tmp_path: Path):
    hold(tmp_path, started=1_000_000_000.0)  # this very process id, but started in 2001
    with run_lock(tmp_path):
        assert holder_of(tmp_path)["started"] > 1_000_000_000.0


def test_a_holder_on_another_machine_cannot_be_judged_dead(tmp_path: Path):
    hold(tmp_path, host="node-7", pid=2**22 + 1)
    with pytest.raises(PipelineError, match=r"process 4194305 on node-7"), run_lock(tmp_path):
        pass


@pytest.mark.parametrize(
    "text",
    ["", "{", "null", "[]", "{}", '{"host": "vm", "pid": 0, "started": 1}', '{"host": "vm", "pid": "x"}', "\x00"],
)
def test_a_damaged_lock_is_taken_over(tmp_path: Path, text: str):
    (tmp_path / LOCK).write_text(text)
    with run_lock(tmp_path):
        assert holder_of(tmp_path)["pid"] == os.getpid()


def test_nobody_ever_reads_half_a_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    # at the moment the name appears, the whole text is there: an empty lock would look damaged to another runner
    link, seen = os.link, []

    def watched(source: Path, target: Path) -> None:
        assert not target.exists()
        link(source, target)
        seen.append(json.loads(target.read_text())["pid"])

    monkeypatch.setattr(module.os, "link", watched)
    with run_lock(tmp_path):
        assert seen == [os.getpid()]


def test_a_lock_that_is_no_longer_ours_is_left_alone(tmp_path: Path):
    with run_lock(tmp_path):
        hold(tmp_path, host="node-7")  # someone removed ours and another run took the folder
    assert holder_of(tmp_path)["host"] == "node-7"


def test_alive_means_this_very_process():
    me = psutil.Process()
    assert alive(me.pid, me.create_time())
    assert not alive(me.pid, me.create_time() - 10)
    other = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    started = psutil.Process(other.pid).create_time()
    assert alive(other.pid, started)
    other.kill()
    os.waitid(os.P_PID, other.pid, os.WEXITED | os.WNOWAIT)  # dead, and still in the table of processes
    assert not alive(other.pid, started)
    other.wait()
    assert not alive(other.pid, started)
