"""Imported by every Python process that is started with this folder on PYTHONPATH: dies by SIGKILL at a given moment.

The moment is the n-th time this process is about to open for writing, open a folder (to sync it), rename, link, make or
remove something whose path matches; so a kill can fall between any two of the writes that make an artifact.
"""

import json
import os
import re
import signal
import sys

EVENTS = ("open", "os.rename", "os.remove", "os.rmdir", "os.mkdir", "os.link", "os.utime", "shutil.rmtree")


def _role() -> str:
    words = sys.orig_argv
    if "reasoning_pipeline.run.program" in words or ("reasoning_pipeline.beside.evals" in words and "step" in words):
        return "step"
    return "runner" if "reasoning_pipeline" in words else "other"


def _arm(moment: dict) -> None:
    pattern, left = re.compile(moment["path"]), [moment["count"]]

    def watch(event: str, arguments: tuple) -> None:
        if (
            event not in EVENTS
            or not arguments
            or not any(isinstance(a, str | os.PathLike) and pattern.search(os.fspath(a)) for a in arguments[:2])
        ):
            return
        left[0] -= 1
        if left[0] == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(watch)


if "TORTURE_MOMENT" in os.environ:
    _moment = json.loads(os.environ["TORTURE_MOMENT"])
    if _moment["role"] == _role():
        _arm(_moment)
