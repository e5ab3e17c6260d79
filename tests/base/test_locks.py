"""One runner a folder: the second learns who holds it; what a dead one left is taken over."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from reasoning_pipeline.base import locks as module
from reasoning_pipeline.base.locks import LOCK, run_lock, step_lock
from reasoning_pipeline.base.ownership import alive, started
from reasoning_pipeline.errors import PipelineError

HOLD = """
import sys, time
from pathlib import Path
from reasoning_pipeline.base.locks import run_lock
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
    hold(tmp_path, started=1_100_000_000.0)  # this very process id, but started in 2004
    with run_lock(tmp_path):
        assert holder_of(tmp_path)["started"] == started(os.getpid())


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


def age(path: Path, seconds: float) -> None:
    then = path.stat().st_mtime - seconds
    os.utime(path, (then, then))


@pytest.mark.parametrize("fields", [{"host": "node-7"}, {"processes": "pid:[1]"}])
def test_where_its_process_cannot_be_asked_for_a_silent_holder_is_taken_for_dead(tmp_path: Path, fields: dict):
    hold(tmp_path, pid=2**22 + 1, **fields)  # another machine; another container of this one
    age(tmp_path / LOCK, module.SILENT_SECONDS - 30)
    with pytest.raises(PipelineError, match="process 4194305 on"), run_lock(tmp_path):
        pass
    age(tmp_path / LOCK, 60)
    with run_lock(tmp_path):
        assert holder_of(tmp_path)["pid"] == os.getpid()


def test_a_holder_keeps_touching_its_lock_and_leaves_when_it_lost_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(module, "BEAT_SECONDS", 0.02)
    killed = threading.Event()
    signals: list[int] = []
    monkeypatch.setattr(module.os, "kill", lambda pid, number: (signals.append(number), killed.set()))
    with run_lock(tmp_path):
        age(tmp_path / LOCK, 1000)
        before = (tmp_path / LOCK).stat().st_mtime
        deadline = time.monotonic() + 10
        while (tmp_path / LOCK).stat().st_mtime < before + 900 and time.monotonic() < deadline:
            time.sleep(0.01)
        assert (tmp_path / LOCK).stat().st_mtime > before + 900
        assert not signals
        hold(tmp_path, host="node-7")
        assert killed.wait(10) and signals == [signal.SIGTERM]


def test_of_many_that_find_a_dead_holder_one_takes_its_place(tmp_path: Path):
    # all start at a barrier and each holds for a moment; two at once would see each other's mark
    hold(tmp_path, started=1_000_000_000.0)
    others = [
        subprocess.Popen(
            [sys.executable, "-c", CROWD, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for _ in range(6)
    ]
    for other in others:
        assert other.stdout is not None and other.stdout.readline() == "ready\n"
    for other in others:
        assert other.stdin is not None
        other.stdin.write("go\n")
        other.stdin.flush()
    outcomes = [other.communicate(timeout=60)[0].split() for other in others]
    assert [line for outcome in outcomes for line in outcome if line not in ("had", "refused")] == []
    assert sum("had" in outcome for outcome in outcomes) >= 1
    assert [path.name for path in tmp_path.iterdir() if path.name != LOCK] == []


CROWD = """
import json, sys, time
from pathlib import Path
from reasoning_pipeline.errors import PipelineError
from reasoning_pipeline.base.locks import run_lock
folder = Path(sys.argv[1])
mark = folder / "mark"
dead = json.dumps({"host": __import__("socket").gethostname(), "pid": 1, "started": 1e9})
print("ready", flush=True)
input()
for round in range(40):
    try:
        with run_lock(folder):
            try:
                mark.touch(exist_ok=False)
            except FileExistsError:
                print("two-at-once")
            time.sleep(0.002)
            mark.unlink()
            print("had")
            if round < 39 and folder.joinpath("running.json").exists():
                # die without releasing: the next ones find a dead holder again
                folder.joinpath("running.json").write_text(dead + " " * round)
    except PipelineError:
        print("refused")
        time.sleep(0.001)
"""


def test_a_taker_that_comes_late_leaves_the_new_holder_alone(tmp_path: Path):
    # it read the dead holder's lock, slept, and wakes when another one has taken the lock over already
    hold(tmp_path, started=1_000_000_000.0)
    path = tmp_path / LOCK
    stale = module._read(path)
    assert stale is not None
    with run_lock(tmp_path):
        assert not module._take_over(path, stale, module._myself())
        assert holder_of(tmp_path)["pid"] == os.getpid()
        assert [entry.name for entry in tmp_path.iterdir()] == [LOCK]


def test_a_link_whose_answer_was_lost_still_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    # NFS: the server made the link, the answer was lost, and the repeated request finds the name taken
    link = os.link

    def unsure(source: Path, target: Path) -> None:
        link(source, target)
        raise FileExistsError

    monkeypatch.setattr(module.os, "link", unsure)
    with run_lock(tmp_path):
        assert holder_of(tmp_path)["pid"] == os.getpid()
    assert list(tmp_path.iterdir()) == []


def test_a_step_that_another_run_makes_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(module, "POLL_SECONDS", 0.05)
    work = tmp_path / "work" / "pretrain-0123"
    code = "from reasoning_pipeline.base.locks import step_lock as run_lock"
    script = HOLD.replace("from reasoning_pipeline.base.locks import run_lock", code)
    other = subprocess.Popen([sys.executable, "-c", script, str(work)], stdout=subprocess.PIPE, text=True)
    shown: list[str] = []

    @contextmanager
    def waiting(text: str) -> Iterator[None]:
        shown.append(text)
        threading.Timer(0.2, other.kill).start()
        yield

    assert other.stdout is not None and other.stdout.readline() == "held\n"
    with step_lock(work, waiting):
        assert other.wait(timeout=10) == -signal.SIGKILL  # had it lived, this would not have been reached before
    host = socket.gethostname()
    assert shown == [f"pretrain-0123: being made by another run (process {other.pid} on {host}); waiting for it"]
    assert list((tmp_path / "work").iterdir()) == []


def test_alive_means_this_very_process(monkeypatch: pytest.MonkeyPatch):
    me = psutil.Process()
    assert alive(me.pid, me.create_time()), "as an earlier version wrote it"
    assert not alive(me.pid, me.create_time() - 10)
    mine = started(me.pid)
    assert alive(me.pid, mine) and not alive(me.pid, mine - 10)
    monkeypatch.setattr("psutil._pslinux.boot_time", lambda: 1e9)  # the wall clock was set
    assert alive(me.pid, mine)
    monkeypatch.undo()
    other = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    began = started(other.pid)
    assert alive(other.pid, began)
    other.kill()
    os.waitid(os.P_PID, other.pid, os.WEXITED | os.WNOWAIT)  # dead, and still in the table of processes
    assert not alive(other.pid, began)
    other.wait()
    assert not alive(other.pid, began)
