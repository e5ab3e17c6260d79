"""The hardware profile: where a plan happens to run. Never part of a fingerprint.

A profile is a YAML file in recipes/hardware/ (or a path). What it may not change is the experiment: the global batch
is the recipe's, and accumulation is derived from it, printed and checked.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from reasoning_pipeline.errors import RecipeError
from reasoning_pipeline.validation import readable_validation
from reasoning_pipeline.yaml_files import read_yaml

PROFILES_FOLDER = Path(__file__).resolve().parent.parent / "recipes" / "hardware"


class ServerProfile(BaseModel):
    """How rollout servers are started."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    max_servers: int = Field(2, ge=1)
    """Servers kept side by side, one per architecture; beyond it the one needed last is stopped."""
    devices: str | None = None
    """CUDA_VISIBLE_DEVICES of the server; None leaves it as it is."""
    kv_cache_gib: int = Field(1, ge=1)
    """CPU builds: memory for the key-value cache."""
    gpu_memory_utilization: float = Field(0.9, gt=0, le=1)
    tensor_parallel: int = Field(1, ge=1)
    max_sequences: int = Field(512, ge=1)
    start_timeout_s: float = Field(300, gt=0)
    request_timeout_s: float = Field(600, gt=0)
    environment: dict[str, str] = {}
    arguments: tuple[str, ...] = ()
    """Further arguments of `vllm serve`."""


class HardwareProfile(BaseModel):
    """One machine or cluster shape."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = "cpu"
    engine: Literal["vllm", "transformers"] = "vllm"
    """Who writes rollouts: a vLLM server, or `transformers` inside the trainer process where vLLM is not installed."""
    device: Literal["cpu", "cuda"] = "cpu"
    precision: Literal["float32", "bfloat16"] = "float32"
    """Of the server's weights and of the trainer's forward and backward passes; master weights stay float32."""
    processes: int = Field(1, ge=1)
    """Trainer processes."""
    accelerate_config: str | None = None
    """A file in launch/accelerate/ (or a path): trainers then start behind `accelerate launch`."""
    trainer_devices: str | None = None
    """CUDA_VISIBLE_DEVICES of the trainer; None leaves it as it is."""
    micro_batch: int | None = Field(None, ge=1)
    """Rollouts per device and forward pass; None takes the whole share of the global batch at once."""
    gradient_checkpointing: bool = False
    environment: dict[str, str] = {}
    """Of every step's process."""
    environment_without_server: dict[str, str] = {}
    """On top of it, for steps that need no rollout server, while none is starting: the machine is theirs alone."""
    server: ServerProfile = ServerProfile()

    @model_validator(mode="after")
    def _processes_need_a_launcher(self) -> HardwareProfile:
        if self.processes > 1 and self.accelerate_config is None:
            raise ValueError(f"{self.processes} processes need accelerate_config (a file in launch/accelerate/)")
        if self.processes > 1 and self.engine == "transformers":
            raise ValueError("engine 'transformers' generates in one process only; use vllm for several")
        return self


def load_profile(name: str | Path | None) -> HardwareProfile:
    """A profile by name (`cpu`) or path. Raises RecipeError listing everything wrong with it."""
    if name is None:
        name = "cpu"
    path = Path(name) if str(name).endswith((".yaml", ".yml")) else PROFILES_FOLDER / f"{name}.yaml"
    if not path.is_file():
        known = ", ".join(sorted(file.stem for file in PROFILES_FOLDER.glob("*.yaml")))
        raise RecipeError(str(name), [f"no such hardware profile; known: {known}"])
    values = read_yaml(path)
    values.setdefault("name", path.stem)
    problems: list[str] = []
    profile = readable_validation(HardwareProfile, values, place="", problems=problems)
    if profile is None:
        raise RecipeError(str(path), problems)
    return profile


def accumulation(profile: HardwareProfile, global_batch: int, *, what: str) -> tuple[int, int]:
    """(rollouts per device and pass, passes per optimizer step) whose product over processes is the global batch.

    Example: 128 rollouts on 4 processes with micro_batch 8 -> (8, 4). Raises RecipeError where it does not divide.
    """
    share, rest = divmod(global_batch, profile.processes)
    if rest:
        raise RecipeError(
            profile.name, [f"processes: {profile.processes} do not divide the global batch of {global_batch} ({what})"]
        )
    micro = min(profile.micro_batch or share, share)
    if share % micro:
        raise RecipeError(
            profile.name, [f"micro_batch: {micro} does not divide the {share} rollouts of one process ({what})"]
        )
    return micro, share // micro
