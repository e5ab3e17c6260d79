"""What an optimizer holds, in a few sums that do not depend on how it is divided: whether a resume loaded it is seen
there, never taken on trust. A library that finds no state it can read goes on with a fresh optimizer."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from reasoning_pipeline.errors import PipelineError

if TYPE_CHECKING:
    import torch

    from reasoning_pipeline.training.layouts import Layout, Written

_ELEMENTS = 1 << 22
"""Summed at once: the sum is taken in float64, and a copy of a flat piece of a large model would not fit."""
_MOMENTS = ("exp_avg", "exp_avg_sq")


def optimizer_sums(trainer: Any) -> dict[str, Any]:
    """Optimizer steps that parameters have taken, and the sum of each moment's absolute values, over all processes.
    Collective.

    Example: {"steps": [40], "exp_avg": 12.25, "exp_avg_sq": 0.5}
    """
    import torch

    states = list(_innermost(trainer.optimizer).state.values())
    # Of a divided optimizer a process may hold nothing that has taken a step; none at all is a fresh one.
    steps = {int(state["step"]) for state in states if "step" in state}
    sums = [sum(_sum(state[name]) for state in states if name in state) for name in _MOMENTS]
    accelerator = trainer.accelerator
    if accelerator.num_processes > 1:
        from accelerate.utils import gather_object

        steps = set(gather_object(sorted(steps)))
        if _divided(trainer):
            sums = accelerator.reduce(torch.tensor(sums, dtype=torch.float64, device=accelerator.device)).tolist()
    return {"steps": sorted(steps), **dict(zip(_MOMENTS, sums, strict=True))}


def check_loaded(before: Written, now: Layout, found: dict[str, Any], step: int) -> None:
    """Raise PipelineError where the optimizer does not hold what the resume point of that step holds: steps and order
    of its parameters, and the sums, where the point says them."""
    expected = {"steps": [step]} | {name: before.optimizer[name] for name in _MOMENTS if name in before.optimizer}
    if before.layout.parameters and before.layout.parameters != now.parameters:
        differs = "its parameters stand in another order"
    elif not all(_equal(found[name], value) for name, value in expected.items()):
        differs = f"it holds {found}, the point {expected}"
    else:
        return
    raise PipelineError(
        f"the optimizer's state was not loaded from the resume point of step {step}: {differs}",
        remedy="libraries of other versions may read it otherwise (written with "
        f"{before.layout.versions or 'unknown ones'}, now {now.versions}); without its folder `checkpoints` the step "
        "begins anew",
    )


def _equal(found: Any, expected: Any) -> bool:
    if isinstance(expected, list):
        return bool(found == expected)
    return math.isclose(found, expected, rel_tol=1e-6) or (math.isnan(found) and math.isnan(expected))


def optimizer_parameters(trainer: Any) -> list[str]:
    """Names of what the optimizer holds, in its order; empty where it holds flat pieces (DeepSpeed)."""
    names = {id(parameter): name for name, parameter in trainer.model.named_parameters()}
    held = [id(parameter) for group in _innermost(trainer.optimizer).param_groups for parameter in group["params"]]
    return [names[one] for one in held] if all(one in names for one in held) else []


def _innermost(optimizer: Any) -> torch.optim.Optimizer:
    """accelerate and DeepSpeed each put one around it."""
    while hasattr(optimizer, "optimizer"):
        optimizer = optimizer.optimizer
    found: torch.optim.Optimizer = optimizer
    return found


def _divided(trainer: Any) -> bool:
    return trainer.accelerator.distributed_type.value in ("DEEPSPEED", "FSDP")


def _sum(tensor: torch.Tensor) -> float:
    return float(sum(piece.double().abs().sum() for piece in _pieces(tensor)))


def _pieces(tensor: torch.Tensor) -> Iterator[torch.Tensor]:
    local: torch.Tensor = tensor.to_local() if hasattr(tensor, "to_local") else tensor  # FSDP2's are DTensors
    yield from local.detach().reshape(-1).split(_ELEMENTS)
