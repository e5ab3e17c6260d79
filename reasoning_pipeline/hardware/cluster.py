"""The cluster part of a hardware profile: what a job asks Slurm for (`slurm:`), and what must stand before our program
can run on a node (`setup:`). Circumstance, like the rest of the profile: never part of a fingerprint.
"""

from __future__ import annotations

import os
import re
import signal
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from reasoning_pipeline.base.validation import readable_validation
from reasoning_pipeline.errors import RecipeError
from reasoning_pipeline.hardware.addresses import own_address

SECRET = re.compile(r"(TOKEN|SECRET|PASSWORD|PASSWD|CREDENTIAL|API_?KEY|ACCESS_?KEY|PRIVATE_?KEY)", re.IGNORECASE)
"""Names of environment variables whose values are written nowhere."""

_DURATION = r"^(\d+-)?\d{1,4}(:\d{2}){0,2}$"
_ENDS_THE_JOB = ("TERM", "KILL", "STOP", "CONT", "USR1")


class JobRequest(BaseModel):
    """What one job asks for. In `slurm.by_stage` the same fields, of one stage only."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    partition: str | None = None
    """As for sbatch."""
    account: str | None = None
    """As for sbatch."""
    qos: str | None = None
    """As for sbatch."""
    gpus_per_node: int | None = Field(None, ge=0)
    """As for sbatch; 0 or None asks for none by this option."""
    cpus_per_task: int | None = Field(None, ge=1)
    """Cores of a node; one task a node is started, and it is the parent of everything that runs there."""
    mem: str | None = None
    """Per node, in Slurm's notation; "0" is all of it."""
    time_limit: str = "24:00:00"
    """Of one run of the job. A step that needs longer saves, is queued again and goes on."""
    options: tuple[str, ...] = ()
    """Further `#SBATCH` options as they are, e.g. "--constraint=h100"."""

    @property
    def hours(self) -> float:
        """`time_limit` in hours: minutes[:seconds], hours:minutes:seconds, days-hours[:minutes[:seconds]]."""
        days, dash, rest = self.time_limit.rpartition("-")
        parts = [int(part) for part in rest.split(":")]
        if not dash and len(parts) < 3:
            parts = [0, *parts]
        return 24 * int(days or 0) + sum(part / 60**number for number, part in enumerate(parts))

    @field_validator("time_limit")
    @classmethod
    def _is_a_duration(cls, limit: str) -> str:
        if re.fullmatch(_DURATION, limit) is None:
            raise ValueError("expected minutes, hours:minutes:seconds or days-hours, e.g. 90, 24:00:00 or 2-12")
        return limit

    @field_validator("options")
    @classmethod
    def _options_are_options(cls, options: tuple[str, ...]) -> tuple[str, ...]:
        for option in options:
            if not option.startswith("-") or "\n" in option:
                raise ValueError(f"{option!r} is no option of sbatch; write it as on its command line: --name=value")
        return options


PLACEHOLDER = re.compile(r"<.*>")
"""What stands in profiles that ship where each cluster has a name of its own."""


class SlurmProfile(JobRequest):
    """The `slurm:` block. `nodes` and `trainer_nodes` hold for trainers; every other step takes one node."""

    nodes: int = Field(1, ge=1)
    """Of one job."""
    trainer_nodes: Literal["all", "others"] = "all"
    """`others`: the first node is the rollout servers' alone, trainers run on the rest."""
    interface: str | None = Field(None, pattern=r"^[\w.:-]+$")
    """The network interface by which the nodes reach one another, e.g. ib0: rollout servers listen on its address, NCCL
    and gloo use it. None takes what a node's own name resolves to, and refuses loopback."""
    rendezvous_port: int | None = Field(None, ge=1024, le=65535)
    """Where trainers on several nodes meet, on the first of them. None takes one that follows from the job's number."""
    signal: str = "USR2"
    """Sent `signal_lead_s` before the time limit. Not USR1, which NCCL and preemption hooks use; not TERM, which says
    that Slurm ends the job."""
    signal_lead_s: int = Field(300, ge=30, le=65535)
    """Longer than the longest optimizer step and a resume point together. Slurm may send it up to a minute earlier."""
    max_requeues: int = Field(50, ge=0)
    """Times a job puts itself back into the queue; preemptions and lost nodes count too."""
    by_stage: dict[str, dict[str, Any]] = {}
    """Stage (or `evaluate`) -> fields of the request that differ for it."""

    @field_validator("signal")
    @classmethod
    def _a_signal_of_its_own(cls, name: str) -> str:
        name = name.removeprefix("SIG")
        if f"SIG{name}" not in signal.Signals.__members__:
            raise ValueError("no signal has this name")
        if name in _ENDS_THE_JOB:
            raise ValueError(f"the signal {name} has a meaning of its own here (Slurm's or NCCL's); use USR2 or HUP")
        return name

    @model_validator(mode="after")
    def _consistent(self) -> SlurmProfile:
        if self.trainer_nodes == "others" and self.nodes < 2:
            raise ValueError("trainer_nodes 'others' needs at least 2 nodes")
        for stage, fields in self.by_stage.items():
            JobRequest.model_validate(fields)
            if "nodes" in fields:
                raise ValueError(f"by_stage.{stage}: nodes cannot differ; only trainers take more than one")
        return self

    def request(self, stage: str) -> JobRequest:
        """What a job of this stage asks for."""
        own = {name: getattr(self, name) for name in JobRequest.model_fields}
        return JobRequest.model_validate(own | self.by_stage.get(stage, {}))

    def changed(self, fields: dict[str, Any]) -> SlurmProfile:
        """With these fields of the request instead, for every stage. Raises RecipeError for values that cannot be."""
        kept = {stage: {k: v for k, v in own.items() if k not in fields} for stage, own in self.by_stage.items()}
        problems: list[str] = []
        values = self.model_dump() | {"by_stage": kept} | fields
        made = readable_validation(SlurmProfile, values, place="", problems=problems)
        if made is None:
            raise RecipeError("the command line", [f"--{problem.replace('_', '-', 1)}" for problem in problems])
        return made

    def unsaid(self) -> list[str]:
        """Fields that still hold the placeholder of a profile that ships; nothing can be submitted with them."""
        named = {name: getattr(self, name) for name in ("partition", "account", "qos")}
        return [name for name, value in named.items() if value is not None and PLACEHOLDER.fullmatch(value)]

    @property
    def training_nodes(self) -> int:
        return self.nodes - (self.trainer_nodes == "others")


def server_host(slurm: SlurmProfile | None) -> str:
    """Where rollout servers of this job listen: on loopback, unless trainers run on other nodes of the job; then on
    this node's own address, behind the key that every server of ours has. Raises PipelineError where that is loopback.
    """
    if slurm is None or slurm.nodes == 1 or int(os.environ.get("SLURM_JOB_NUM_NODES", "1")) == 1:
        return "127.0.0.1"
    return own_address(slurm.interface)


class Container(BaseModel):
    """An image that the job's program runs in."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    runtime: Literal["pyxis", "apptainer"]
    """`pyxis` is enroot through `srun --container-image`."""
    image: str
    """A file, or an address that the runtime understands."""
    mounts: tuple[str, ...] = ()
    """`/host:/inside`. The project's and the runs' folders are mounted under their own names in any case."""
    arguments: tuple[str, ...] = ()
    """Further arguments of srun (pyxis) or of `apptainer exec`."""


class Setup(BaseModel):
    """The `setup:` block: from a bare node to a Python that has this project."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    commands: tuple[str, ...] = ()
    """Shell lines, run first."""
    modules: tuple[str, ...] = ()
    """Environment modules to load."""
    conda: str | None = None
    """Name or prefix of an environment."""
    container: Container | None = None
    """In which the command runs."""
    python: str | None = None
    """Interpreter on the node. None: `python` of the conda environment or the image, else the one that submits."""
    environment: dict[str, str] = {}
    """Of the job's processes."""
    hf_home: str | None = None
    """Cache of models and data on the shared file system; `python -m launch prefetch` fills it."""
    offline: bool = False
    """Nodes without network: the hub's clients look into their cache only."""
    secrets: tuple[str, ...] = ()
    """Variables that the submitting shell must have, e.g. HF_TOKEN. They reach the job through its environment."""

    @field_validator("environment")
    @classmethod
    def _no_secret(cls, environment: dict[str, str]) -> dict[str, str]:
        for name in environment:
            if SECRET.search(name):
                raise ValueError(
                    f"the variable {name} looks like a secret; name it in `secrets` and export it before submitting"
                )
        return environment

    @model_validator(mode="after")
    def _one_environment(self) -> Setup:
        if self.conda is not None and self.container is not None:
            raise ValueError("give `conda` or `container`, not both: the image brings its own Python")
        return self

    def exports(self) -> dict[str, str]:
        """Variables that a job's script sets; none of them is a secret."""
        cache = {"HF_HOME": self.hf_home} if self.hf_home is not None else {}
        names = ("HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE", "TRANSFORMERS_OFFLINE") if self.offline else ()
        return {**cache, **dict.fromkeys(names, "1"), **self.environment}
