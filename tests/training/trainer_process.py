"""One trainer process of a step without runner and registry, alone or behind a profile's own launcher.

Started as `python -m tests.training.trainer_process JOB.json …` by tests that kill and resume under several launchers;
`run(job)` does the same within the test's own process, for a layout of one. What it trains lands in `WORK/output`.
Several jobs are done one after the other: most of what such a process takes is importing.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from reasoning_pipeline.data.config import PromptConfig
from reasoning_pipeline.errors import PipelineError
from reasoning_pipeline.hardware.environment import own_environment
from reasoning_pipeline.hardware.launcher import has_launcher, launch_command
from reasoning_pipeline.hardware.profile import HardwareProfile
from reasoning_pipeline.recipe.workflows import stage_module
from reasoning_pipeline.run.context import StageContext
from reasoning_pipeline.run.program import leave

PROJECT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True, kw_only=True)
class Job:
    stage: str
    config: dict[str, Any]
    profile: dict[str, Any]
    inputs: dict[str, str]
    work: str
    copy_at: int | None = None
    """When the resume point of this optimizer step is whole, the work folder is copied to `WORK-killed`: what a machine
    that dies then would leave."""
    die_at: int | None = None
    """Every process of the step ends by SIGKILL when that resume point is whole."""
    copy_of: str | None = None
    """The work folder that this one begins as a copy of."""

    @property
    def killed(self) -> Path:
        return Path(f"{self.work}-killed")

    def under(self, profile: HardwareProfile, work: Path) -> Job:
        """The same step on another machine, going on from what is in another work folder."""
        return replace(self, profile=profile.model_dump(mode="json"), work=str(work), copy_at=None, die_at=None)


def run(job: Job) -> Path:
    """Train in this process; the folder that would be published."""
    import torch

    from reasoning_pipeline.training import loop

    module, work = stage_module(job.stage), Path(job.work)
    if job.copy_of is not None:
        if os.environ.get("RANK", "0") == "0":
            shutil.copytree(job.copy_of, work)
        if torch.distributed.is_initialized():
            torch.distributed.barrier()
    config = module.Config.model_validate(job.config)
    context = StageContext(
        config=config,
        label="test-step",
        problems=[],
        inputs={name: Path(folder) for name, folder in job.inputs.items()},
        prompt=PromptConfig(),
        profile=HardwareProfile.model_validate(job.profile),
        work=work,
    )
    marked = loop.complete

    def complete(point: Path) -> None:
        marked(point)
        if point.name == f"checkpoint-{job.copy_at}":
            shutil.copytree(work, job.killed)
        if point.name == f"checkpoint-{job.die_at}":
            os.kill(os.getpid(), signal.SIGKILL)  # the launcher and the other processes have to notice

    loop.complete = complete
    try:
        outcome = module.run(config, context)
    finally:
        loop.complete = marked
    folder: Path = outcome.folder
    return folder


def launch(*jobs: Job, timeout_s: float = 1200) -> subprocess.CompletedProcess[str]:
    """Train them behind the launcher of the first one's profile, which is that of all; each may begin as a copy of an
    earlier one's folder."""
    profile = HardwareProfile.model_validate(jobs[0].profile)
    paths = [Path(f"{job.work}.job.json") for job in jobs]
    for job, path in zip(jobs, paths, strict=True):
        path.write_text(json.dumps(asdict(job)))
    program = ["-m", "tests.training.trainer_process", *map(str, paths)]
    command = launch_command(profile, program) if has_launcher(profile) else [sys.executable, *program]
    environment = own_environment(os.environ) | {"OMP_NUM_THREADS": "1"} | profile.environment
    return subprocess.run(
        command, cwd=PROJECT, env=environment, capture_output=True, text=True, timeout=timeout_s, check=False
    )


if __name__ == "__main__":
    try:
        for path in sys.argv[1:]:
            run(Job(**json.loads(Path(path).read_text())))
    except PipelineError as error:
        print(f"error: {error}", file=sys.stderr, flush=True)
        leave(error.exit_status)
    leave(0)
