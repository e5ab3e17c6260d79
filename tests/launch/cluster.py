"""A real Slurm for the length of a test session: a controller, and two nodes that are both this machine."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import psutil

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch")
CORES = 4
"""Of each node, whatever this machine has: jobs here wait more than they compute."""
SECOND = "zz-second"
"""Stands behind this machine's own name, which resolves, in every list: the first node is where processes meet."""

# A job that was queued again waits until its old credentials have expired: two minutes, unless told otherwise.
CONFIGURATION = """\
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge/socket,cred_expire=6
CryptoType=crypto/munge
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerType=sched/backfill
SchedulerParameters=batch_sched_delay=0,bf_interval=1
SlurmctldPort={controller_port}
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool-%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd-%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd-%n.log
SlurmdParameters=config_overrides
MailProg=/bin/true
ReturnToService=2
KillWait=10
NodeName={host} NodeHostname={host} NodeAddr=127.0.0.1 Port={first_port} CPUs={cores} State=UNKNOWN
NodeName={second} NodeHostname={host} NodeAddr=127.0.0.1 Port={second_port} CPUs={cores} State=UNKNOWN
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP
PartitionName=short Nodes=ALL MaxTime=1 State=UP
"""


def why_not() -> str | None:
    """What keeps Slurm from running here, or None."""
    missing = [program for program in PROGRAMS if _find(program) is None]
    if missing:
        return f"Slurm is not installed ({', '.join(missing)} missing; `make slurm` installs it where it may)"
    if os.geteuid() != 0:
        return "Slurm's daemons are started by root here"
    return None


class Cluster:
    """Controller, munge and two nodes in a folder of their own. Call `stop` whatever happens."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="slurm-"))  # short: munge's socket path has a limit of 107 bytes
        self.configuration = self.folder / "slurm.conf"

    def start(self) -> None:
        (self.folder / "munge").mkdir(mode=0o700)
        (self.folder / "state").mkdir()
        key = self.folder / "munge" / "key"
        key.write_bytes(os.urandom(1024))
        key.chmod(0o400)
        ports = _free_ports(3)
        self.configuration.write_text(
            CONFIGURATION.format(
                host=socket.gethostname(),
                second=SECOND,
                folder=self.folder,
                cores=CORES,
                controller_port=ports[0],
                first_port=ports[1],
                second_port=ports[2],
            )
        )
        os.environ["SLURM_CONF"] = str(self.configuration)
        munge = self.folder / "munge"
        files = [f"--{name}={munge}/{name.split('-')[0]}" for name in ("key-file", "pid-file", "log-file", "seed-file")]
        self._run("munged", f"--socket={munge}/socket", *files, "--force")
        self._run("slurmctld")
        self._run("slurmd", "-N", socket.gethostname())
        self._run("slurmd", "-N", SECOND)
        wait_until(lambda: self.ask("sinfo", "-h", "-o", "%A").split()[:1] == ["0/2"], 20, "two idle nodes")

    def stop(self) -> None:
        """Cancel what runs, end the daemons, leave nothing behind."""
        subprocess.run(["scancel", "--quiet", "--user=root"], capture_output=True, check=False)
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline and self.ask("squeue", "-h"):
            time.sleep(0.2)
        for path in (*self.folder.glob("*.pid"), self.folder / "munge" / "pid"):
            try:
                process = psutil.Process(int(path.read_text()))
                process.send_signal(signal.SIGTERM)
                process.wait(timeout=10)
            except (psutil.Error, OSError, ValueError):
                continue
        os.environ.pop("SLURM_CONF", None)
        shutil.rmtree(self.folder, ignore_errors=True)

    @staticmethod
    def ask(*command: str) -> str:
        return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()

    def _run(self, program: str, *arguments: str) -> None:
        found = _find(program)
        assert found is not None
        done = subprocess.run([found, *arguments], capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{program}: {done.stderr}"


def wait_until(happened: Callable[[], object], seconds: float, what: str) -> None:
    deadline = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < deadline, f"waited {seconds:.0f} s for {what}"
        time.sleep(0.2)


def _find(program: str) -> str | None:
    return shutil.which(program) or shutil.which(program, path="/usr/sbin:/sbin:/usr/local/sbin")


def _free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    for entry in sockets:
        entry.bind(("127.0.0.1", 0))
    ports = [int(entry.getsockname()[1]) for entry in sockets]
    for entry in sockets:
        entry.close()
    return ports
