"""The hardware profile: where a plan happens to run. Never part of a fingerprint.

A profile is a YAML file in `profiles/` (or a path). What it may not change is the experiment: the global batch is the
recipe's, and accumulation is derived from it, printed and checked.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from reasoning_pipeline.base.files import shipped
from reasoning_pipeline.base.validation import readable_validation, suggested_file, suggestion
from reasoning_pipeline.base.yaml_files import read_yaml
from reasoning_pipeline.errors import RecipeError
from reasoning_pipeline.hardware.cluster import Setup, SlurmProfile
from reasoning_pipeline.hardware.processor import cpu_precision

PROFILES_FOLDER = shipped("reasoning_pipeline.hardware", "profiles")


class ServerProfile(BaseModel):
    """How rollout servers are started."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    max_servers: int = Field(2, ge=1)
    """Servers kept side by side, one per architecture; beyond it the one needed last is stopped."""
    count: int = Field(1, ge=1)
    """Servers of each architecture, data parallel behind one client: each holds the whole model, the work is spread."""
    devices: str | tuple[str, ...] | None = None
    """CUDA_VISIBLE_DEVICES of the server, or of each of the `count` servers, numbered as `trainer_devices`; None leaves
    it as it is."""
    urls: tuple[str, ...] = ()
    """Adopt these servers, which somebody else started (`serve --as-rollout-server`), instead of starting any: the key
    they share comes from the environment variable REASONING_PIPELINE_SERVER_KEY; they are never stopped."""
    kv_cache_gib: int = Field(1, ge=1)
    """CPU builds: memory for the key-value cache, at least; a server alone on a machine takes what it can fill."""
    threads: int | None = Field(None, ge=1)
    """CPU builds: threads that compute, beside a trainer; a server alone takes all cores. None leaves it to PyTorch."""
    gpu_memory_utilization: float = Field(0.9, gt=0, le=1)
    """GPU builds: share of a GPU that a server takes."""
    tensor_parallel: int = Field(1, ge=1)
    """GPUs that hold one copy of the model."""
    max_sequences: int = Field(512, ge=1)
    """Written at the same time by one server."""
    start_timeout_s: float = Field(300, gt=0)
    """Seconds until a server must answer; then its start has failed."""
    silence_timeout_s: float = Field(120, gt=0)
    """Generation streams, with a sign of life every 5 s unless the engine is inside one forward pass; a server that is
    silent for longer is lost. Longer than the longest prefill (`--max-num-batched-tokens`) takes on slow devices."""
    request_timeout_s: float = Field(600, gt=0)
    """Longest wait for one answer that does not stream: a weight update, one call of scoring."""
    transport: Literal["safetensors", "nccl", "ipc"] = "safetensors"
    """How weights travel from the trainer: through files in shared memory, NCCL, or CUDA IPC (trainer and server on one
    GPU). The last two are vLLM's own and need GPUs (docs/rollout_server.md)."""
    transfer_folder: Path | None = None
    """Where `safetensors` writes; None is this machine's shared memory. A folder that the nodes share where they have
    no common fabric."""
    sleep: bool = False
    """The server gives its GPU's memory to the trainer while the optimizer works (vLLM's sleep mode, level 2)."""
    environment: dict[str, str] = {}
    """Of every server's process."""
    arguments: tuple[str, ...] = ()
    """Further arguments of `vllm serve`."""

    @model_validator(mode="after")
    def _one_device_list_a_server(self) -> ServerProfile:
        if isinstance(self.devices, tuple) and len(self.devices) != self.count:
            raise ValueError(f"devices names {len(self.devices)} servers, count is {self.count}")
        if self.count > 1 and isinstance(self.devices, str):
            raise ValueError(f"{self.count} servers would share devices {self.devices!r}: give a list, one a server")
        if self.urls and self.count > 1:
            raise ValueError("urls adopts servers and count starts them: leave one out")
        return self

    def devices_of(self, number: int) -> str | None:
        """CUDA_VISIBLE_DEVICES of server `number` (from 0) of an architecture."""
        return self.devices[number] if isinstance(self.devices, tuple) else self.devices


class HardwareProfile(BaseModel):
    """One machine or cluster shape."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = "cpu"
    """Written into every record that is made here."""
    engine: Literal["vllm", "transformers"] = "vllm"
    """Who writes rollouts: a vLLM server, or `transformers` inside the trainer process where vLLM is not installed."""
    device: Literal["cpu", "cuda"] = "cpu"
    """Where trainers compute."""
    precision: Literal["float32", "bfloat16"] = Field(
        "float32", json_schema_extra={"enum": ["float32", "bfloat16", "auto"]}
    )
    """Of the server's weights and of the trainer's forward and backward passes; master weights stay float32. `auto` in
    a file means bfloat16 where this machine's processor computes in it, else float32."""
    processes: int = Field(1, ge=1)
    """Trainer processes."""
    accelerate_config: str | None = None
    """A file in reasoning_pipeline/hardware/accelerate/ (or a path): trainers then start behind `accelerate launch`."""
    trainer_devices: str | None = None
    """CUDA_VISIBLE_DEVICES of the trainer, numbered among those that the runner may use; None leaves it as it is."""
    micro_batch: int | None = Field(None, ge=1)
    """Rollouts per device and forward pass."""
    tokens_per_micro_batch: int | None = Field(None, ge=1)
    """Tokens per device and forward pass, instead of `micro_batch`: as many rollouts as fit. Where neither is given, as
    many as the plan finds room for in `device_memory_gib`; where that is not given, the whole share of the batch."""
    gradient_checkpointing: bool = False
    """Recompute activations in the backward pass: less memory, about a third more compute."""
    parallel_steps: int = Field(1, ge=1)
    """Steps run side by side where none waits for another; only without rollout servers, which hold one policy each."""
    warm_start: bool = False
    """Fork steps from a process that has imported the libraries, instead of starting each anew (warm_start.py)."""
    teacher: Literal["trainer", "server", "cached"] = "trainer"
    """Where a distillation's frozen teacher is: in the trainer (exact), on a server of its own, or cached with its
    rollouts; see training/distillation.py."""
    teacher_top_k: int = Field(64, ge=0)
    """Words of the teacher's distribution that a server or a cache gives for each position; 0 is the sampled token."""
    teacher_devices: str | None = None
    """CUDA_VISIBLE_DEVICES of the teacher's server; None takes the first rollout server's."""
    device_memory_gib: float | None = Field(None, gt=0)
    """Of one device, as the driver reports it; with it a plan refuses what cannot fit."""
    peak_tflops: float | None = Field(None, gt=0)
    """Dense matrix-product peak of one device in this precision; with it a plan estimates hours."""
    utilisation: float = Field(0.35, gt=0, le=1)
    """Share of the peak that training and scoring are assumed to reach."""
    memory_bandwidth_gbs: float | None = Field(None, gt=0)
    """GB/s of one device: what bounds decoding."""
    trackers: dict[Literal["tensorboard", "trackio", "mlflow", "wandb"], dict[str, Any]] = {}
    """Where metrics and results are mirrored: names, or names with options of their start (docs/trackers.md)."""
    environment: dict[str, str] = {}
    """Of every step's process."""
    environment_without_server: dict[str, str] = {}
    """On top of it, for steps that need no rollout server, while none is starting: the machine is theirs alone."""
    server: ServerProfile = ServerProfile()
    """How rollout servers are started."""
    stop_grace_s: float = Field(60, gt=0)
    """How long a step may take to save its resume point, beyond the optimizer step under way, once asked to stop."""
    slurm: SlurmProfile | None = None
    """What a job asks Slurm for; None: this profile is not submitted."""
    setup: Setup = Setup()
    """What a job does before its command."""

    @field_validator("precision", mode="before")
    @classmethod
    def _of_this_processor(cls, value: Any) -> Any:
        return cpu_precision() if value == "auto" else value

    @field_validator("trackers", mode="before")
    @classmethod
    def _names_alone(cls, value: Any) -> Any:
        return {name: {} for name in value} if isinstance(value, list | tuple) else value

    def of_servers_alone(self) -> HardwareProfile | None:
        """For a job that only asks rollout servers: their devices, numbered from 0, and none for a trainer. None where
        the profile does not say which those are."""
        lists = [self.server.devices_of(number) for number in range(self.server.count)]
        if self.engine != "vllm" or any(found is None for found in lists):
            return None
        named = [name.strip() for found in lists for name in (found or "").split(",")]
        if self.server.urls or not all(name.isdigit() for name in named):
            return None
        order = {name: str(number) for number, name in enumerate(sorted(set(named), key=int))}
        devices = tuple(",".join(order[name.strip()] for name in (found or "").split(",")) for found in lists)
        server = self.server.model_copy(update={"devices": devices if len(devices) > 1 else devices[0]})
        return self.model_copy(update={"server": server, "trainer_devices": None})

    def server_devices(self) -> int:
        """How many different devices the rollout servers have."""
        lists = [self.server.devices_of(number) or "" for number in range(self.server.count)]
        return len({name for found in lists for name in found.split(",") if name})

    @model_validator(mode="after")
    def _processes_need_a_launcher(self) -> HardwareProfile:
        if self.processes > 1 and self.accelerate_config is None:
            raise ValueError(
                f"{self.processes} processes need accelerate_config (a file in reasoning_pipeline/hardware/accelerate/)"
            )
        if self.processes > 1 and self.engine == "transformers":
            raise ValueError("engine 'transformers' generates in one process only; use vllm for several")
        if self.teacher == "server" and self.engine == "transformers":
            raise ValueError("teacher 'server' needs engine 'vllm'; use trainer or cached")
        return self

    @model_validator(mode="after")
    def _one_size_of_passes(self) -> HardwareProfile:
        if self.micro_batch is not None and self.tokens_per_micro_batch is not None:
            raise ValueError("give micro_batch (rollouts a pass) or tokens_per_micro_batch, not both")
        return self

    @model_validator(mode="after")
    def _short_steps_on_a_cpu(self) -> HardwareProfile:
        if self.parallel_steps > 1 and self.engine != "transformers":
            raise ValueError("parallel_steps needs engine 'transformers': a rollout server holds one policy at a time")
        if self.warm_start and (self.device != "cpu" or self.accelerate_config is not None):
            raise ValueError("warm_start is for device 'cpu' without accelerate_config: launchers start programs anew")
        return self

    @model_validator(mode="after")
    def _some_transports_need_gpus(self) -> HardwareProfile:
        if self.device == "cpu" and self.server.transport != "safetensors":
            raise ValueError(f"server.transport {self.server.transport!r} needs device: cuda; on CPUs use safetensors")
        if self.device == "cpu" and self.server.sleep:
            raise ValueError("server.sleep needs device: cuda; vLLM's CPU build has no sleep mode")
        if self.server.transport != "safetensors" and self.server.transfer_folder is not None:
            raise ValueError(f"server.transfer_folder is not used by transport {self.server.transport!r}")
        return self

    @model_validator(mode="after")
    def _processes_have_devices(self) -> HardwareProfile:
        nodes = self.slurm.training_nodes if self.slurm is not None else 1
        if self.processes % nodes:
            raise ValueError(f"{self.processes} processes do not divide over {nodes} trainer nodes")
        devices = self._devices_per_trainer_node()
        if devices is not None and self.processes // nodes > devices:
            raise ValueError(f"{self.processes // nodes} processes a node have {devices} devices there")
        container = self.setup.container
        if nodes > 1 and container is not None and not any("srun" in mount for mount in container.mounts):
            raise ValueError(
                "setup.container: trainers on several nodes are started from inside it, and srun is not in the image; "
                "mount srun, Slurm's libraries and munge's socket, or use `conda`"
            )
        if self.slurm is not None and self.slurm.signal_lead_s <= self.stop_grace_s:
            raise ValueError("slurm.signal_lead_s must be longer than stop_grace_s: the signal asks for that stop")
        return self

    def _devices_per_trainer_node(self) -> int | None:
        """GPUs that trainers may use on each of their nodes; None where the profile does not tell."""
        if self.device == "cpu":
            return None
        if self.trainer_devices is not None:
            return len(self.trainer_devices.split(","))
        return self.slurm.gpus_per_node if self.slurm is not None else None


def load_profile(name: str | Path | None) -> HardwareProfile:
    """A profile by name (`cpu`) or path. Raises RecipeError listing everything wrong with it."""
    path = profile_path(name)
    values = read_yaml(path)
    values.setdefault("name", path.stem)
    problems: list[str] = []
    profile = readable_validation(HardwareProfile, values, place="", problems=problems)
    if profile is None:
        raise RecipeError(str(path), problems)
    return profile


def profile_path(name: str | Path | None) -> Path:
    """The file of a profile by name (`cpu` where none is given) or path. Raises RecipeError where there is none."""
    if name is None:
        name = "cpu"
    path = Path(name) if str(name).endswith((".yaml", ".yml")) else PROFILES_FOLDER / f"{name}.yaml"
    if not path.is_file():
        known = sorted(file.stem for file in PROFILES_FOLDER.glob("*.yaml"))
        hint = suggested_file(path) if path.parent != PROFILES_FOLDER else suggestion(str(name), known)
        raise RecipeError(str(name), [f"no such hardware profile{hint} (known: {', '.join(known)})"])
    return path


def accumulation(
    profile: HardwareProfile, global_batch: int, *, what: str, whole: str | None = None
) -> tuple[int, int]:
    """(rollouts per device and pass, passes per optimizer step) whose product over processes is the global batch.

    Example: 128 rollouts on 4 processes with micro_batch 8 -> (8, 4). Raises RecipeError where it does not divide, or
    must not be divided: `whole` then says why.
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
    if whole is not None and (micro != global_batch or profile.tokens_per_micro_batch is not None):
        passes = f"{profile.processes} processes with {share // micro} passes each"
        if profile.tokens_per_micro_batch is not None:
            passes = f"passes of {profile.tokens_per_micro_batch} tokens"
        raise RecipeError(profile.name, [f"{what}: {global_batch} rollouts in {passes}, but {whole}"])
    return micro, share // micro
