"""A trainer behind a launcher ends with its own status, whatever libraries do at the end of a process."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

ABORTS_AT_THE_END = """
import ctypes
from reasoning_pipeline.run.program import leave
libc = ctypes.CDLL(None)
libc.__cxa_atexit(ctypes.cast(libc.abort, ctypes.c_void_p), None, None)
print("published")
leave(0)
"""


@pytest.mark.parametrize(("behind_a_launcher", "status"), [(True, 0), (False, -signal.SIGABRT)])
def test_a_library_that_aborts_at_the_end_fails_no_finished_step(behind_a_launcher: bool, status: int) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "RANK"}
    environment |= {"RANK": "1"} if behind_a_launcher else {}
    done = subprocess.run(
        [sys.executable, "-c", ABORTS_AT_THE_END], env=environment, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (status, "published\n")
