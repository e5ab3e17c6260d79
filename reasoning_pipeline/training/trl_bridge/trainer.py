"""What every trainer of TRL gets here: its models divided as the launch says, its optimizer steps in passes of our own,
its logits in tiles that suit the device."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from math import isnan
from typing import Any

import torch
from transformers import TrainerCallback
from trl.kernels import chunked_logprob
from trl.trainer import utils as trl_utils

from reasoning_pipeline.estimates.memory import CPU_TILE_TOKENS, CPU_TILE_WORDS
from reasoning_pipeline.training.in_passes import InPasses
from reasoning_pipeline.training.sharding import check_placement, reduce_in_float32, shard_frozen

# Only positions that count are multiplied with the head; TRL does so where it has Triton kernels.
trl_utils._use_triton = lambda device: True


class Placed:
    """Every model is divided as the launch says, and looked at before the first step."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        trainer: Any = self
        if getattr(trainer, "teacher_model", None) is not None:
            trainer.teacher_model = shard_frozen(trainer.teacher_model, trainer.accelerator)
        trainer.add_callback(_LooksAtPlacement(trainer))

    def create_accelerator_and_postprocess(self) -> None:
        trainer: Any = super()
        trainer.create_accelerator_and_postprocess()
        reduce_in_float32(self.accelerator)  # type: ignore[attr-defined]


class _LooksAtPlacement(TrainerCallback):
    def __init__(self, trainer: Any) -> None:
        self.trainer = trainer

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        trainer = self.trainer
        found = {
            "policy": trainer.model_wrapped,
            "teacher": getattr(trainer, "teacher_model", None),
            "reference": getattr(trainer, "ref_model", None),
        }
        unwrap = trainer.accelerator.unwrap_model
        check_placement(
            {name: unwrap(model) for name, model in found.items() if model is not None}, trainer.accelerator
        )


class Trained(InPasses, Placed):
    """What all of TRL's trainers get from here."""

    @contextmanager
    def _around_passes(self) -> Iterator[Callable[[int], None]]:
        """What TRL measures in a pass counts by the pass's tokens; TRL's own mean would count passes."""
        trainer: Any = self
        outside, sums = trainer._metrics["train"], defaultdict[str, list[float]](lambda: [0.0, 0.0])

        def weighed(tokens: int) -> None:
            for name, values in trainer._metrics["train"].items():
                for value in values:
                    if value is not None and not isnan(value):
                        sums[name][0] += value * tokens / len(values)
                        sums[name][1] += tokens / len(values)
            trainer._metrics["train"].clear()

        trainer._metrics["train"] = defaultdict(list)
        try:
            with fitting_tiles(trainer.accelerator.device):
                yield weighed
        finally:
            trainer._metrics["train"] = outside
        for name, (value, tokens) in sums.items():
            if tokens:
                outside[name].append(value / tokens)


@contextmanager
def fitting_tiles(device: torch.device) -> Iterator[None]:
    """On CPUs as few logits at a time as stay in a cache."""
    places = [
        (chunked_logprob, "TOKEN_CHUNK_SIZE", CPU_TILE_TOKENS),
        (trl_utils, "_CHUNKED_LOGPROB_CHUNK_SIZE", CPU_TILE_WORDS),
    ]
    before = [getattr(module, name) for module, name, _ in places]
    for module, name, size in places if device.type == "cpu" else ():
        setattr(module, name, size)
    try:
        yield
    finally:
        for (module, name, _), size in zip(places, before, strict=True):
            setattr(module, name, size)
