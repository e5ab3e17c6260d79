"""An optimizer step in passes of our own: transformers' trainer sees one batch a step, whose rows are brought together
from all processes, divided into passes anew (passes.py), and laid end to end (packing.py).

The trainers below divide a batch by rows alone, as they came, and pad every pass to the longest row of them all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Any

import torch
from accelerate.utils import DistributedType, gather_object

from reasoning_pipeline.training.packing import PackedRows, keeping_rows_apart, pack
from reasoning_pipeline.training.passes import Division, Limit, divide, knee_of
from reasoning_pipeline.training.rows import Row


@dataclass
class Pass:
    """One forward and backward pass of an optimizer step, in this process."""

    rows: list[Row]
    """Empty in a process that has none left: it computes a row of nothing, to take part in every collective."""
    packed: PackedRows
    widest: int
    """Rows of the process that has most of them in this pass."""
    tokens: int
    """Completion tokens of all processes."""
    inputs: dict[str, Any] = field(default_factory=dict)
    """What TRL's loss is handed."""


class InPasses:
    """An optimizer step is one batch for transformers' trainer; its passes are ours, since TRL pads all of them to the
    longest row of the batch and has as many whatever the rows' lengths."""

    limit = Limit()
    _pass: Pass | None = None
    """The one that is being computed. Outside of them (evaluation) TRL's trainers are as they are."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self.args.gradient_accumulation_steps != 1:  # type: ignore[attr-defined]
            raise ValueError("gradient_accumulation_steps: passes are divided by `limit`, not by the trainer")
        self._divided: dict[str, float] = {}
        self._rows = 0

    def _own_rows(self, inputs: list[dict[str, Any]]) -> tuple[list[Row], dict[str, Any]]:
        """This process's rows, and what belongs to the batch as a whole."""
        raise NotImplementedError

    def _loss_inputs(self, part: Pass, like: Row) -> dict[str, Any]:
        """Of TRL's loss, with all rows of the pass."""
        raise NotImplementedError

    def _before(self, passes: list[Pass]) -> None:
        """What all passes need before the first gradient."""

    @contextmanager
    def _around_passes(self) -> Iterator[Callable[[int], None]]:
        """Held during all passes of a step; what it gives is told after each how many completion tokens it had."""
        yield lambda tokens: None

    def _beside(self) -> list[Any]:
        """Models that take part without being trained."""
        return []

    def training_step(self, model: Any, inputs: Any, num_items_in_batch: Any = None) -> torch.Tensor:
        """All passes of an optimizer step; the sum of their losses, each divided by what the whole batch holds."""
        trainer: Any = self
        accelerator = trainer.accelerator
        model.train()
        own, whole = self._own_rows(inputs)
        rows = own if accelerator.num_processes == 1 else gather_object(own)
        division = divide(
            [row.length for row in rows],
            processes=accelerator.num_processes,
            limit=self.limit,
            knee=knee_of(trainer.model.config.get_text_config()),
        )
        self._divided, self._rows = division.measured, len(rows)
        total = torch.zeros((), device=accelerator.device)
        with keeping_rows_apart(trainer.model, *self._beside()), self._around_passes() as weighed:
            passes = self._passes(division, rows, whole)
            self._before(passes)
            for part in passes:
                self._pass = part
                with self._summed(model, last=part is passes[-1]):
                    with trainer.compute_loss_context_manager():
                        loss = trainer.compute_loss(model, part.inputs, num_items_in_batch=whole["num_items_in_batch"])
                    accelerator.backward(loss, **self._backward_options())
                total += loss.detach()
                part.inputs.clear()
                weighed(part.tokens)
                self._pass = None
                if part is not passes[-1]:
                    trainer.control = trainer.callback_handler.on_substep_end(
                        trainer.args, trainer.state, trainer.control
                    )
        if hasattr(trainer, "_step"):
            trainer._step += 1
        return total

    def _passes(self, division: Division, rows: list[Row], whole: dict[str, Any]) -> list[Pass]:
        device, me = self.accelerator.device, self.accelerator.process_index  # type: ignore[attr-defined]
        passes = []
        for shares in division.passes:
            mine = [rows[number] for number in shares[me]]
            part = Pass(
                rows=mine,
                packed=pack([(row.prompt_ids, row.completion_ids) for row in mine] or [([0], [0])], device),
                widest=max(map(len, shares)),
                tokens=sum(len(rows[number].completion_ids) for share in shares for number in share),
            )
            part.inputs = self._loss_inputs(part, rows[0]) | whole
            passes.append(part)
        return passes

    @contextmanager
    def _summed(self, model: Any, *, last: bool) -> Iterator[None]:
        """Gradients are summed over processes in the last pass, or in each where the division asks for it."""
        accelerator = self.accelerator  # type: ignore[attr-defined]
        accelerator.gradient_state._set_sync_gradients(last)
        each = accelerator.gradient_state.plugin_kwargs.get("sync_each_batch", False)
        each = each or accelerator.distributed_type == DistributedType.DEEPSPEED
        with nullcontext() if last or each else accelerator.no_sync(model=model):
            yield

    def _backward_options(self) -> dict[str, Any]:
        deepspeed = self.accelerator.distributed_type == DistributedType.DEEPSPEED  # type: ignore[attr-defined]
        return {"scale_wrt_gas": False} if deepspeed else {}

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        trainer: Any = super()
        trainer.log(logs | self._divided, start_time)
