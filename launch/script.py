"""The batch script of a job, from a template. Nothing in it is a secret: those reach a job through its environment."""

from __future__ import annotations

import os
import shlex
import sys
from dataclasses import dataclass
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from reasoning_pipeline.beside import FOLDER, INSTALLED
from reasoning_pipeline.errors import PipelineError
from reasoning_pipeline.hardware.cluster import SECRET, Container, JobRequest, Setup, SlurmProfile
from reasoning_pipeline.hardware.profile import HardwareProfile
from reasoning_pipeline.run.context import STOP_VARIABLE

from .jobs import Job

REQUEUE_STATUS = 99
"""Exit status of `launch job` that asks its script to put the job back into the queue."""

TEMPLATES = Path(__file__).resolve().parent / "templates"
PROJECT = None if INSTALLED else FOLDER
"""The checkout, where jobs start; where this is installed, they start anywhere."""
_SHORTEST_SECRET = 8


@dataclass(frozen=True)
class Target:
    """What a job's program is told: the same words as on the command line of `run`, all paths absolute."""

    recipe: Path
    hardware: Path
    root: Path
    store: Path
    """Holds the registry: `root`, or a folder of its own."""
    overrides: tuple[str, ...]
    seeds: tuple[int, ...]
    folder: Path
    """ROOT/RECIPE."""

    def script(self, job: Job) -> Path:
        return self.folder / "slurm" / f"{file_name(job)}.sh"


def render(job: Job, profile: HardwareProfile, target: Target, request: JobRequest) -> str:
    """The whole text of a job's script."""
    assert profile.slurm is not None
    stages = job.steps[0].config
    nodes = profile.slurm.nodes if type(stages).heavy else 1
    template = Environment(
        loader=FileSystemLoader(TEMPLATES), undefined=StrictUndefined, keep_trailing_newline=True, trim_blocks=True
    ).get_template("job.sh.j2")
    text = template.render(
        options=_options(job, profile.slurm, request, target, nodes),
        what=f"step {job.name} of {target.recipe.name}" + (f" under {len(job.steps)} seeds" if job.array else ""),
        array=job.array,
        steps=" ".join(shlex.quote(step.name) for step in job.steps),
        outputs=" ".join(shlex.quote(step.output) for step in job.steps),
        folder=shlex.quote(str(target.folder)),
        folder_shown=str(target.folder).replace('"', ""),
        scripts=shlex.quote(str(target.folder / "slurm")),
        setup=_setup(profile.setup),
        exports=[(name, shlex.quote(value)) for name, value in profile.setup.exports().items()],
        cpus=request.cpus_per_task,
        stop_variable=STOP_VARIABLE,
        signal=profile.slurm.signal,
        lead=profile.slurm.signal_lead_s,
        program=_program(profile, target),
        requeue_status=REQUEUE_STATUS,
    )
    _refuse_secrets(text, job)
    return text


def file_name(job: Job) -> str:
    return job.name.replace("/", "-")


def log_name(job: Job, number: str) -> str:
    """Relative to the recipe's folder; `number` is the job's, or Slurm's pattern for it."""
    return f"logs/slurm/{file_name(job)}-{number}.out"


def _options(job: Job, slurm: SlurmProfile, request: JobRequest, target: Target, nodes: int) -> list[str]:
    log = target.folder / log_name(job, "%A_%a" if job.array else "%j")
    named: dict[str, object] = {
        "job-name": f"{target.folder.name}.{file_name(job)}",
        "output": log,
        "open-mode": "append",  # a job that was queued again goes on in the same file
        "chdir": PROJECT or target.root,
        "partition": request.partition,
        "account": request.account,
        "qos": request.qos,
        "nodes": nodes,
        "ntasks-per-node": 1,
        "gpus-per-node": request.gpus_per_node or None,
        "cpus-per-task": request.cpus_per_task,
        "mem": request.mem,
        "time": request.time_limit,
        "signal": f"B:{slurm.signal}@{slurm.signal_lead_s}",
        "array": f"0-{len(job.steps) - 1}" if job.array else None,
    }
    options = [f"--{name}={_argument(value)}" for name, value in named.items() if value is not None]
    # After a lost node the job starts elsewhere; what depends on a failed step is cancelled and waits no longer.
    return [*options, "--requeue", "--kill-on-invalid-dep=yes", *request.options]


def _argument(value: object) -> str:
    text = str(value)
    return f'"{text}"' if " " in text else text  # sbatch reads its lines with quotes, but is no shell


def _setup(setup: Setup) -> list[str]:
    lines = [*setup.commands]
    if setup.modules:
        lines += ["module purge", *(f"module load {shlex.quote(module)}" for module in setup.modules)]
    if setup.conda is not None:
        lines += ['eval "$(conda shell.bash hook)"', f"conda activate {shlex.quote(setup.conda)}"]
    return lines


def _program(profile: HardwareProfile, target: Target) -> list[str]:
    setup = profile.setup
    python = setup.python or (sys.executable if setup.conda is None and setup.container is None else "python")
    words = [
        *_container(setup.container, target),
        python,
        "-m",
        "reasoning_pipeline.beside.launch",
        "job",
        str(target.recipe),
    ]
    words += ["--hardware", str(target.hardware), "--root", str(target.root)]
    if target.store != target.root:
        words += ["--registry", str(target.store)]
    for override in target.overrides:
        words += ["--set", override]
    if target.seeds:
        words += ["--seeds", ",".join(map(str, target.seeds))]
    return [f'{shlex.join(words)} --step "$step" --expect "$output" &']


def _container(container: Container | None, target: Target) -> list[str]:
    if container is None:
        return []
    own = (PROJECT, target.root, target.store, target.recipe.parent, target.hardware.parent)
    mounts = [*container.mounts, *(f"{path}:{path}" for path in dict.fromkeys(own) if path is not None)]
    start = PROJECT or target.root
    if container.runtime == "pyxis":
        image = [f"--container-image={container.image}", f"--container-mounts={','.join(mounts)}"]
        return ["srun", "--nodes=1", "--ntasks=1", *image, f"--container-workdir={start}", *container.arguments]
    binds = [word for mount in mounts for word in ("--bind", mount)]
    return ["apptainer", "exec", "--nv", *binds, "--pwd", str(start), *container.arguments, container.image]


def _refuse_secrets(text: str, job: Job) -> None:
    """A secret written out in a profile's setup lines, or in a `--set`, would lie in a file for all to read."""
    for name, value in os.environ.items():
        if SECRET.search(name) and len(value) >= _SHORTEST_SECRET and value in text:
            raise PipelineError(
                f"the script of {job.name} would hold the value of {name}",
                remedy="take it out of the profile or the command line; jobs get it through their environment",
            )
