"""The check that nothing stays behind must see what does."""

from __future__ import annotations

import os
import subprocess
import sys

import psutil

from tests.run.conftest import STARTED_BY, left_over


def test_it_sees_what_tests_started_and_nothing_else() -> None:
    before = set(psutil.pids())
    program = [sys.executable, "-c", "import time; time.sleep(60)  # reasoning_pipeline"]
    theirs = subprocess.Popen(program, env={name: value for name, value in os.environ.items() if name != STARTED_BY})
    ours = subprocess.Popen(program)
    try:
        (found,) = left_over(before, timeout_s=0)
        assert "time.sleep(60)" in found
        ours.kill()
        ours.wait()
        assert left_over(before, timeout_s=0) == []
    finally:
        for process in (ours, theirs):
            process.kill()
            process.wait()
