"""How a training was divided over processes, and whether another division can go on from its resume point.

One process, data parallelism and FSDP2 keep an optimizer's state whole in a resume point (the same tensors, FSDP2's by
name instead of by number), so each goes on from the others' points (converting.py). DeepSpeed keeps flat pieces, one a
process, that only the same ZeRO stage with as many processes can read. transformers' trainer does not ask: from a
foreign point it takes the weights and begins with a fresh optimizer, in silence. Hence every point says how it was
written, and `obstacle` is asked before anything is loaded.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from reasoning_pipeline.hardware.profile import HardwareProfile
from reasoning_pipeline.models.weights import ADAPTER
from reasoning_pipeline.registry.provenance import package_versions

LAYOUT_FILE = "layout.json"
WHOLE = ("none", "ddp", "fsdp2")
"""Ways to divide whose optimizer state is whole in a resume point."""
_LIBRARIES = ("torch", "transformers", "trl", "accelerate", "deepspeed", "peft")
_TITLES = {"none": "one process", "ddp": "data parallel", "zero1": "ZeRO-1", "zero2": "ZeRO-2", "zero3": "ZeRO-3",
           "fsdp1": "FSDP1", "fsdp2": "FSDP2", "fsdp2_pieces": "FSDP2 that saves pieces"}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Layout:
    """Of a running trainer, or of the one that wrote a resume point."""

    profile: str | None
    """Name of the hardware profile; None where the point does not say."""
    launcher: str | None = None
    """The profile's accelerate configuration; None for a program that nothing stands in front of."""
    processes: int
    sharding: str
    precision: str | None
    """None where the point does not say."""
    lora: bool
    versions: dict[str, str] = field(default_factory=dict)
    parameters: list[str] = field(default_factory=list)
    """Names of what the optimizer holds, in its order; empty where it holds flat pieces."""

    def like(self, other: Layout) -> bool:
        """Whether both compute in the same way. What a point does not say counts as equal."""
        precisions = {self.precision, other.precision} - {None}
        return (self.sharding, self.processes) == (other.sharding, other.processes) and len(precisions) < 2

    @property
    def text(self) -> str:
        """For messages.

        Example: "profile 'two' (ZeRO-3, 2 processes, float32, LoRA)"
        """
        parts = [_TITLES.get(self.sharding, self.sharding)]
        if self.sharding != "none":
            parts.append(f"{self.processes} process{'es' if self.processes != 1 else ''}")
        parts += [self.precision] if self.precision else []
        parts += ["LoRA"] if self.lora else []
        return f"{self.whose} ({', '.join(parts)})"

    @property
    def whose(self) -> str:
        return f"profile {self.profile!r}" if self.profile else "a profile that it does not name"


def layout_of(trainer: Any, profile: HardwareProfile) -> Layout:
    """Of a trainer, as accelerate sees it; not what was asked for. What its optimizer will hold is not known yet."""
    return Layout(
        profile=profile.name,
        launcher=profile.accelerate_config,
        processes=trainer.accelerator.num_processes,
        sharding=_sharding(trainer.accelerator),
        precision=profile.precision,
        lora=hasattr(trainer.model, "peft_config"),
        versions={name: version for name, version in package_versions().items() if name in _LIBRARIES},
    )


def _sharding(accelerator: Any) -> str:
    kind = accelerator.distributed_type.value
    if kind == "DEEPSPEED":
        return f"zero{accelerator.state.deepspeed_plugin.zero_stage}"
    if kind == "FSDP":
        if not accelerator.is_fsdp2:
            return "fsdp1"
        return "fsdp2" if accelerator.state.fsdp_plugin.state_dict_type.name == "FULL_STATE_DICT" else "fsdp2_pieces"
    return "none" if kind == "NO" else "ddp"


@dataclass(frozen=True)
class Written:
    """What a resume point says of itself."""

    layout: Layout
    optimizer: dict[str, Any]
    """Sums by which a later run sees that it has loaded this state; empty where the point does not say."""
    earlier: list[str]
    """Other layouts that the training went through before."""


def save_layout(point: Path, said: Written) -> None:
    (point / LAYOUT_FILE).write_text(json.dumps(asdict(said), indent=1), encoding="utf-8")


def written(point: Path) -> Written:
    """What a resume point says of itself; of one without a layout what its files tell."""
    path = point / LAYOUT_FILE
    if not path.is_file():
        return Written(_from_files(point), {}, [])
    values = json.loads(path.read_text(encoding="utf-8"))
    return Written(Layout(**values["layout"]), values["optimizer"], values["earlier"])


def earlier_layouts(before: Written | None, now: Layout) -> list[str]:
    """For the record, which names only the profile that publishes."""
    if before is None:
        return []
    mine = [] if before.layout.like(now) else [before.layout.text]
    return [*before.earlier, *mine]


def _from_files(point: Path) -> Layout:
    pieces = list(point.glob("global_step*/*_optim_states.pt"))
    processes = len(list(point.glob("rng_state_*.pth"))) or 1
    if pieces:
        stage = 3 if any(point.glob("global_step*/*zero_pp_rank_*_model_states.pt")) else 2
        sharding, processes = f"zero{stage}", len(pieces)
    elif (point / "optimizer.bin").is_file():
        sharding = "fsdp2"
    elif any(point.glob("optimizer_*")):
        sharding = "fsdp2_pieces"
    else:
        sharding = "none" if (point / "rng_state.pth").is_file() else "ddp"
    lora = (point / ADAPTER).is_file()
    return Layout(profile=None, processes=processes, sharding=sharding, precision=None, lora=lora)


def obstacle(before: Layout, now: Layout) -> str | None:
    """Why a trainer of this layout cannot go on exactly from a point of that one; None where it can."""
    if before.lora != now.lora:
        return "one trains all weights, the other adapters"
    if before.precision is not None and before.precision != now.precision:
        return "going on in another precision would be another training"
    if before.sharding == now.sharding and (before.processes == now.processes or before.sharding in WHOLE):
        return None
    if before.sharding not in WHOLE:
        return "its optimizer state lies in pieces that no other layout can read"
    if now.sharding not in WHOLE:
        return "the optimizer state of the other lies in pieces, and no whole one can be read into them"
    if "fsdp2" in (before.sharding, now.sharding) and not before.parameters:
        return "it does not say which weight each part of its optimizer state belongs to"
    return None
