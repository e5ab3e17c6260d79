"""Either divergence between a student and a teacher whose weights are in the trainer, exact over the vocabulary."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import torch
from trl import DistillationConfig, DistillationTrainer
from trl.trainer import distillation_trainer
from trl.trainer.utils import maybe_gather_lm_head_ctx

from reasoning_pipeline.training.companions import Companion
from reasoning_pipeline.training.divergence import Direction
from reasoning_pipeline.training.exact_divergence import exact_divergence
from reasoning_pipeline.training.in_passes import Pass
from reasoning_pipeline.training.packing import hidden_states, in_passes
from reasoning_pipeline.training.rows import Row, rows_of
from reasoning_pipeline.training.tiled_logits import top_k_overlap
from reasoning_pipeline.training.trl_bridge.generating import RenderedPrompts
from reasoning_pipeline.training.trl_bridge.trainer import Trained

__all__ = ["BETA", "CachedRolloutsTrainer", "DistillationConfig", "Distils", "OnPolicyTrainer"]

# As in trainer.py. In passes all positions count, and to select them would copy both models' hidden states.
distillation_trainer._use_triton = lambda device: not in_passes()

_of_trl: Any = distillation_trainer
_of_trl.ChunkedDivergenceFunction = SimpleNamespace(
    apply=exact_divergence(_of_trl.ChunkedDivergenceFunction.apply, maybe_gather_lm_head_ctx)
)

BETA: dict[Direction, float] = {"reverse": 1.0, "forward": 0.0}
"""TRL's `beta`: 1 is KL(student || teacher), 0 is KL(teacher || student), exact over the vocabulary, in tiles."""


class Distils(Trained, DistillationTrainer):
    """Either divergence, over the completion tokens of a pass end to end: [1, N], as one long row."""

    companions: Sequence[Companion] = ()

    def _own_rows(self, inputs: list[dict[str, Any]]) -> tuple[list[Row], dict[str, Any]]:
        batch = self._generate_and_score_completions(inputs)
        return rows_of(batch), {"num_items_in_batch": batch["num_items_in_batch"]}

    def _loss_inputs(self, part: Pass, like: Row) -> dict[str, Any]:
        ids_1N = part.packed.next_N[None]
        empty = ids_1N.new_zeros(1, 0)
        batch = {"prompt_ids": empty, "prompt_mask": empty, "completion_ids": ids_1N}
        batch["completion_mask"] = torch.full_like(ids_1N, int(bool(part.rows)))
        return batch | {name: [row.columns[name] for row in part.rows] for name in like.columns}

    def _beside(self) -> list[Any]:
        return [] if self.teacher_model is None else [self.accelerator.unwrap_model(self.teacher_model)]

    def _get_last_hidden_state(self, unwrapped_model: Any, *given: Any, **options: Any) -> torch.Tensor:
        if self._pass is None:
            return super()._get_last_hidden_state(unwrapped_model, *given, **options)
        return hidden_states(unwrapped_model, self._pass.packed)[None]


class _TeacherIsHere(Distils):
    """The exact divergence; beside it, now and then, how far the two agree on the likeliest tokens."""

    overlap_top_k = 16
    overlap_every: int | None = 5
    """`top_k_overlap` is looked at every so many optimizer steps, and at the first and the last; None: never."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._overlap: torch.Tensor | None = None
        """(sum, tokens) of this optimizer step in this process."""
        super().__init__(*args, **kwargs)

    def _compute_loss(
        self, unwrapped_student: Any, inputs: dict[str, Any], num_items_in_batch: torch.Tensor | int | None
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        if not self._looks():
            return super()._compute_loss(unwrapped_student, inputs, num_items_in_batch)
        with _watched_divergence(self._look):
            return super()._compute_loss(unwrapped_student, inputs, num_items_in_batch)

    def _looks(self) -> bool:
        step = self.state.global_step + 1
        return self.overlap_every is not None and (step % self.overlap_every == 0 or step in (1, self.state.max_steps))

    def _look(self, *given: Any) -> None:
        """`given`: what the divergence was asked of, hidden states [N, H] and heads of student and teacher first."""
        student_NH, student_head, student_bias, teacher_NH, teacher_head, teacher_bias = given[:6]
        overlap_N = top_k_overlap(
            student_NH, student_head, student_bias, teacher_NH, teacher_head, teacher_bias,
            top_k=self.overlap_top_k, gathered=maybe_gather_lm_head_ctx,
        )  # fmt: skip
        if self._pass is not None and not self._pass.rows:  # only now: where heads are divided, all take part
            overlap_N = overlap_N[:0]
        here = torch.stack([overlap_N.sum(), overlap_N.new_tensor(len(overlap_N))])
        self._overlap = here if self._overlap is None else self._overlap + here

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Collective where something was looked at; all processes look at the same steps."""
        if self._overlap is not None:
            total, tokens = self.accelerator.reduce(self._overlap, reduction="sum").tolist()
            self._overlap = None
            if tokens:
                logs["top_k_overlap"] = total / tokens
        super().log(logs, start_time)


@contextmanager
def _watched_divergence(look: Callable[..., None]) -> Iterator[None]:
    """Within it, `look` is shown what TRL's loss asks the divergence of."""
    module: Any = distillation_trainer
    divergence = module.ChunkedDivergenceFunction

    def apply(*given: Any) -> Any:
        look(*given)
        return divergence.apply(*given)

    module.ChunkedDivergenceFunction = SimpleNamespace(apply=apply)
    try:
        yield
    finally:
        module.ChunkedDivergenceFunction = divergence


class OnPolicyTrainer(RenderedPrompts, _TeacherIsHere):
    """Distillation on the student's own rollouts, the teacher's weights here."""


class CachedRolloutsTrainer(_TeacherIsHere):
    """Distillation on completions that are already there, with the same tiled divergence as on-policy."""

    def _generate_and_score_completions(self, inputs: list[dict[str, Any]]) -> dict[str, Any]:
        self._batch = inputs
        return super()._generate_and_score_completions(inputs)

    def _tokenize_prompts(self, prompts: list[str]) -> tuple[list[list[int]], None, dict[str, Any]]:
        return [row["prompt_ids"] for row in self._batch], None, {}

    def _generate_single_turn(self, *args: Any, **kwargs: Any) -> list[list[int]]:
        return [row["completion_ids"] for row in self._batch]
