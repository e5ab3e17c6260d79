"""A process whose owner was killed leaves by itself."""

from __future__ import annotations

import subprocess
import sys
import time

import psutil
import pytest

OWNER = """
import os, subprocess, sys, time
from reasoning_pipeline.base.ownership import owner_environment
child = subprocess.Popen(
    [sys.executable, "-c", "from reasoning_pipeline.base import ownership; import time;"
     "ownership.CHECK_SECONDS = 0.1;"
     "ownership.leave_with_owner(); print('watching', flush=True); time.sleep(600)"],
    env={**os.environ, **owner_environment()}, stdout=subprocess.PIPE)
child.stdout.readline()
print(child.pid, flush=True)
time.sleep(600)
"""


def test_a_child_takes_along_its_own_children_that_do_not_watch_yet() -> None:
    sleeper = "subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])"
    starting = OWNER.replace(
        "print('watching', flush=True)", f"import subprocess, sys; print({sleeper}.pid, flush=True)"
    )
    starting = starting.replace("child.stdout.readline()\nprint(child.pid", "print(int(child.stdout.readline())")
    owner = subprocess.Popen([sys.executable, "-c", starting], stdout=subprocess.PIPE, text=True)
    assert owner.stdout is not None
    grandchild = psutil.Process(int(owner.stdout.readline()))
    owner.kill()
    owner.wait()
    try:
        grandchild.wait(timeout=10)
    except psutil.TimeoutExpired:
        grandchild.kill()
        pytest.fail("a child's child outlived the owner")


def test_a_child_leaves_when_its_owner_is_killed() -> None:
    owner = subprocess.Popen([sys.executable, "-c", OWNER], stdout=subprocess.PIPE, text=True)
    assert owner.stdout is not None
    child = psutil.Process(int(owner.stdout.readline()))
    time.sleep(0.5)
    assert child.is_running()
    owner.kill()
    owner.wait()
    try:
        child.wait(timeout=10)
    except psutil.TimeoutExpired:
        child.kill()
        pytest.fail("the child outlived its owner")
