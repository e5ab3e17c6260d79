"""`serve` and `status` before a server runs."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from reasoning_pipeline.__main__ import main
from reasoning_pipeline.commands.serve import find_key
from reasoning_pipeline.errors import PipelineError
from reasoning_pipeline.rollouts.clients.client import KEY_VARIABLE
from reasoning_pipeline.rollouts.servers import register

LONG_KEY = "0123456789abcdef"


def test_status_without_servers_says_so_fast_and_without_heavy_imports(tmp_path: Path) -> None:
    program = (
        "import sys; from reasoning_pipeline.__main__ import main; status = main(sys.argv[1:]);"
        "assert not {'torch', 'transformers', 'vllm', 'httpx'} & set(sys.modules); sys.exit(status)"
    )
    found = subprocess.run(
        [sys.executable, "-c", program, "status", "--root", tmp_path], capture_output=True, text=True, check=False
    )
    assert (found.returncode, found.stdout) == (0, f"no rollout server of {tmp_path} is running\n"), found.stderr


def test_a_server_that_does_not_answer_is_told_and_counts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    register.write(
        tmp_path / register.FOLDER, os.getpid(), url="http://127.0.0.1:9", model="tiny", log=tmp_path / "x.log"
    )
    assert main(["status", "--root", str(tmp_path), "--json"]) == 1
    (row,) = json.loads(capsys.readouterr().out)["servers"]
    assert "is gone" in row["error"] and row["model"] == "tiny"


def test_a_key_is_shown_to_a_terminal_only_and_never_made_beyond_loopback(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(KEY_VARIABLE, raising=False)
    monkeypatch.setattr(sys, "stdout", SimpleNamespace(isatty=lambda: False))
    key, path = find_key(None, host="127.0.0.1", keys=tmp_path / "servers")  # a log is read by many
    assert path is not None and Path(path).read_text() == f"{key}\n" and len(key or "") >= 32
    assert stat.S_IMODE(Path(path).stat().st_mode) == 0o600
    monkeypatch.setattr(sys, "stdout", SimpleNamespace(isatty=lambda: True))
    assert find_key(None, host="127.0.0.1", keys=tmp_path) == (None, None)
    for host in ("0.0.0.0", "::", "10.0.0.3", "node3"):
        with pytest.raises(PipelineError, match=f"--host {host} listens beyond this machine and no key is given"):
            find_key(None, host=host, keys=tmp_path)
    file = tmp_path / "key"
    file.write_text(LONG_KEY + "\n")
    assert find_key(file, host="0.0.0.0", keys=tmp_path) == (LONG_KEY, str(file))
    monkeypatch.setenv(KEY_VARIABLE, "short")
    with pytest.raises(PipelineError, match="has 5 characters, fewer than 16"):
        find_key(None, host="127.0.0.1", keys=tmp_path)
