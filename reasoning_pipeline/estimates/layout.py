"""A hardware profile in the terms of an estimate: how models are divided, who shares a device with whom, how fast."""

from __future__ import annotations

from dataclasses import dataclass

from reasoning_pipeline.base.yaml_files import read_yaml
from reasoning_pipeline.estimates.memory import SERVER_RESERVE, Placement, ServerMemory, Sharding, server_memory
from reasoning_pipeline.estimates.shapes import ModelShape
from reasoning_pipeline.estimates.work import Decoder
from reasoning_pipeline.hardware.launcher import accelerate_file
from reasoning_pipeline.hardware.profile import HardwareProfile

GIB = 2**30
ASLEEP = 1 * GIB
"""What a sleeping server keeps on its device: its CUDA context and captured graphs."""


@dataclass(frozen=True)
class Layout:
    """Who holds what where."""

    profile: HardwareProfile
    placement: Placement
    colocated: bool
    """Trainer and server share devices."""
    sleeps: bool
    """A colocated server gives its memory back while the trainer is at work."""
    teacher_beside_trainer: bool

    @property
    def devices(self) -> int:
        """Of trainers and servers together, each counted once."""
        server = self.profile.server
        servers = server.count * server.tensor_parallel if self.profile.engine == "vllm" else 0
        return max(self.profile.processes, servers) if self.colocated else self.profile.processes + servers

    @property
    def device_bytes(self) -> int | None:
        memory = self.profile.device_memory_gib
        return int(memory * GIB) if memory is not None else None

    @property
    def server_share(self) -> int:
        """Bytes of one device that a server takes."""
        return int((self.device_bytes or 0) * self.profile.server.gpu_memory_utilization)

    @property
    def server_reserve(self) -> int:
        return SERVER_RESERVE

    @property
    def trainer_room(self) -> int:
        """Bytes that a trainer device leaves to the trainer while it is at work."""
        taken = 0 if not self.colocated else ASLEEP if self.sleeps else self.server_share
        return (self.device_bytes or 0) - taken

    def server_of(self, shape: ModelShape) -> ServerMemory:
        return server_memory(
            shape,
            share=self.server_share,
            precision_bytes=self.placement.precision_bytes,
            tensor_parallel=self.profile.server.tensor_parallel,
        )

    def decoder(self, shape: ModelShape, server: ServerMemory) -> Decoder:
        profile = self.profile
        assert profile.memory_bandwidth_gbs is not None and profile.peak_tflops is not None
        return Decoder(
            shape=shape,
            replicas=profile.server.count,
            tensor_parallel=profile.server.tensor_parallel,
            precision_bytes=self.placement.precision_bytes,
            cache_tokens=server.tokens,
            max_sequences=profile.server.max_sequences,
            bandwidth_gbs=profile.memory_bandwidth_gbs,
            flops=profile.peak_tflops * 1e12 * profile.utilisation,
        )


def largest(parts: dict[str, int], most: int = 3) -> str:
    """`optimizer 15.3, activations 12.8, weights 7.6`: the parts of a device that take most, in GiB."""
    names = sorted(parts, key=lambda name: -parts[name])[:most]
    return ", ".join(f"{name} {parts[name] / GIB:.1f}" for name in names)


def layout_of(profile: HardwareProfile) -> Layout:
    return Layout(
        profile=profile,
        placement=Placement(
            precision_bytes=2 if profile.precision == "bfloat16" else 4,
            checkpointing=profile.gradient_checkpointing,
            sharding=sharding(profile),
            processes=profile.processes,
            gpu=profile.device == "cuda",
        ),
        colocated=_share_devices(profile),
        sleeps=profile.server.sleep,
        teacher_beside_trainer=profile.teacher == "trainer",
    )


def sharding(profile: HardwareProfile) -> Sharding:
    """How the profile's accelerate configuration divides a model. Raises RecipeError where the file is missing."""
    if profile.accelerate_config is None:
        return "none"
    values = read_yaml(accelerate_file(profile))
    kind = values.get("distributed_type")
    if kind == "DEEPSPEED":
        return "zero3" if (values.get("deepspeed_config") or {}).get("zero_stage") == 3 else "zero2"
    return "fsdp2" if kind == "FSDP" else "ddp"


def _share_devices(profile: HardwareProfile) -> bool:
    if profile.engine != "vllm" or (profile.slurm is not None and profile.slurm.trainer_nodes == "others"):
        return False
    servers = [profile.server.devices_of(number) for number in range(profile.server.count)]
    if profile.trainer_devices is None or None in servers:
        return True
    trainers = set(profile.trainer_devices.split(","))
    return any(trainers & set((devices or "").split(",")) for devices in servers)
