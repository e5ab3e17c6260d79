"""The divergence against a teacher that is not in the trainer: its scores are asked for, or cached."""

from __future__ import annotations

from typing import Any

import torch
from trl.trainer.utils import maybe_gather_lm_head_ctx

from reasoning_pipeline.errors import PipelineError
from reasoning_pipeline.training.divergence import Direction, loss_sum
from reasoning_pipeline.training.rows import rows_of
from reasoning_pipeline.training.teachers import Teacher
from reasoning_pipeline.training.tiled_logits import logprobs_at
from reasoning_pipeline.training.trl_bridge.distillation import CachedRolloutsTrainer, Distils, OnPolicyTrainer

_LOGIT_TRANSFORMS = ("logit_scale", "output_multiplier", "lm_head_multiplier", "logits_scaling",
                     "final_logit_softcapping")  # fmt: skip


class _ScoredByTeacher(Distils):
    """The loss against a teacher that is not here: its K best words at each position, and a tail."""

    teacher: Teacher
    direction: Direction

    def _generate_and_score_completions(self, inputs: list[dict[str, Any]]) -> dict[str, Any]:
        batch: dict[str, Any] = super()._generate_and_score_completions(inputs)
        batch["teacher_scores"] = self.teacher.scores([(row.prompt_ids, row.completion_ids) for row in rows_of(batch)])
        return batch

    def _compute_loss(
        self, unwrapped_student: Any, inputs: dict[str, Any], num_items_in_batch: torch.Tensor | int | None
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        mask_N = inputs["completion_mask"][0].bool()
        hidden_NH = self._get_last_hidden_state(unwrapped_student)[0]
        counted_NH = hidden_NH if inputs["teacher_scores"] else hidden_NH[:0]  # all or none: to select would copy
        head = unwrapped_student.get_output_embeddings()
        weight, bias = (p.full_tensor() if hasattr(p, "full_tensor") else p for p in (head.weight, head.bias))
        ids_NK, teacher_NK = self._teacher_words(inputs, mask_N)
        student_NK, entropy_N = logprobs_at(counted_NH, weight, bias, ids_NK, gathered=maybe_gather_lm_head_ctx)
        vocabulary = unwrapped_student.config.get_text_config().vocab_size  # a sharded head has no length of its own
        loss = loss_sum(
            student_NK, teacher_NK, top_k=self.teacher.top_k, vocabulary=vocabulary, direction=self.direction
        )
        divisor = loss.tokens.clamp(min=1) if num_items_in_batch is None else num_items_in_batch
        return loss.total / divisor, entropy_N.sum(), loss.tokens

    def _teacher_words(self, inputs: dict[str, Any], mask_N: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Word ids and the teacher's log-probabilities [N, K] of the batch's tokens; the sampled ones where K = 0."""
        scores, device = inputs["teacher_scores"], mask_N.device
        if not scores:
            nothing = torch.zeros(0, max(self.teacher.top_k, 1), device=device)
            return nothing.long(), nothing
        if self.teacher.top_k == 0:
            ids_NK = inputs["completion_ids"][0].unsqueeze(-1)
            teacher_NK = torch.cat([torch.from_numpy(s.sampled_T.copy()) for s in scores]).unsqueeze(-1)
        else:
            ids_NK = torch.cat([torch.from_numpy(s.ids_TK.copy()) for s in scores])
            teacher_NK = torch.cat([torch.from_numpy(s.logprobs_TK.copy()) for s in scores])
        return ids_NK.to(device), teacher_NK.to(device)


class ScoredOnPolicyTrainer(_ScoredByTeacher, OnPolicyTrainer):
    """Distillation on the student's own rollouts, the teacher asked for its scores."""


class ScoredCachedRolloutsTrainer(_ScoredByTeacher, CachedRolloutsTrainer):
    """Distillation on cached rollouts, the teacher's scores asked for or cached too."""


def score_with(trainer: Any, teacher: Teacher, direction: Direction) -> None:
    """Give a scored trainer its teacher. Raises PipelineError for a student whose head is more than a projection."""
    config = trainer.model.config.get_text_config()
    present = [name for name in _LOGIT_TRANSFORMS if getattr(config, name, None) is not None]
    if present:
        raise PipelineError(
            f"the student's logits are transformed ({', '.join(present)}), which the top-K divergence does not know",
            remedy="run with `teacher: trainer` in the hardware profile",
        )
    trainer.teacher, trainer.direction = teacher, direction
