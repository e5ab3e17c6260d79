"""The one file that knows TRL's insides (1.16). Everything of TRL is imported through it; tests fail when TRL moves.

What it relies on, beyond the public API:
- both trainers generate through `vllm_generation.sync_weights()` and `.generate(...)` when `use_vllm` is true, and
  sync when `state.global_step != _last_loaded_step`; our engine stands in that place;
- they ask for one batch per optimizer step, of consecutive rows, each process its share (batches.py);
- `_tokenize_prompts` turns the `prompt` column into ids; ours renders nothing, the prompts come rendered;
- `DistillationTrainer._generate_single_turn` returns completion ids; for cached rollouts it returns those;
- `DistillationTrainer._generate_and_score_completions` returns a batch of which lists are shuffled and split like
  tensors, and `_compute_loss` turns a part of it into (loss, entropy sum, tokens); with a teacher that is not in the
  trainer these two carry and use its scores. `teacher_model` may be None;
- with the teacher in the trainer, `_compute_loss` asks `distillation_trainer.ChunkedDivergenceFunction` for each
  token's divergence, from the two models' hidden states and heads: `top_k_overlap` is taken from the same;
- `DPOTrainer` turns its rows into `prompt_ids`, `chosen_ids` and `rejected_ids` in `_prepare_dataset`; ours come so;
- the distillation trainer leaves its teacher where it was loaded, as `teacher_model`, when its __init__ ends; GRPO's
  makes the start of the KL penalty by `grpo_trainer.create_model_from_path` and divides it by
  `grpo_trainer.prepare_fsdp`: both go the way of our models (sharding.py).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import trl.import_utils as trl_imports

# The trainer process never talks to vLLM's Python side; importing it there would cost seconds and gigabytes.
trl_imports.is_vllm_available = lambda *args, **kwargs: False

import torch  # noqa: E402
from transformers import TrainerCallback  # noqa: E402
from trl import DistillationConfig, DistillationTrainer, DPOConfig, DPOTrainer, GRPOConfig, GRPOTrainer, SFTConfig  # noqa: E402  # noqa: E402
from trl import SFTTrainer as TRLSFTTrainer  # noqa: E402
from trl.trainer import distillation_trainer, grpo_trainer  # noqa: E402
from trl.trainer.utils import maybe_gather_lm_head_ctx  # noqa: E402

from reasoning_pipeline.data.prompts import PromptRenderer  # noqa: E402
from reasoning_pipeline.errors import PipelineError  # noqa: E402
from reasoning_pipeline.rollouts.engine import TrainerEngine  # noqa: E402
from reasoning_pipeline.training.companions import Companion  # noqa: E402
from reasoning_pipeline.training.divergence import Direction, loss_sum  # noqa: E402
from reasoning_pipeline.training.sharding import (  # noqa: E402
    check_placement,
    load_for_training,
    reduce_in_float32,
    shard_frozen,
)
from reasoning_pipeline.training.teachers import Teacher  # noqa: E402
from reasoning_pipeline.training.tiled_logits import logprobs_at, top_k_overlap  # noqa: E402

__all__ = ["DPOConfig", "DistillationConfig", "GRPOConfig", "SFTConfig"]

# The start that a KL penalty looks back to: read once and divided by layers, not as one piece.
grpo_trainer.create_model_from_path = lambda folder, **_: load_for_training(Path(folder))
grpo_trainer.prepare_fsdp = shard_frozen

BETA: dict[Direction, float] = {"reverse": 1.0, "forward": 0.0}
"""TRL's `beta`: 1 is KL(student || teacher), 0 is KL(teacher || student), exact over the vocabulary, in tiles."""

_LOGIT_TRANSFORMS = ("logit_scale", "output_multiplier", "lm_head_multiplier", "logits_scaling",
                     "final_logit_softcapping")  # fmt: skip


class _Placed:
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


class SFTTrainer(_Placed, TRLSFTTrainer):
    """Hard labels."""


class PreferenceTrainer(_Placed, DPOTrainer):
    """Pairs that are token ids already, as PromptRenderer made them."""

    def _prepare_dataset(self, dataset: Any, *_: Any) -> Any:
        return dataset


class _RenderedPrompts:
    """Takes prompts that data/prompts.py has rendered; adds no special token."""

    renderer: PromptRenderer

    def _tokenize_prompts(self, prompts: list[str]) -> tuple[list[list[int]], None, dict[str, Any]]:
        encoded = self.renderer.tokenizer.encode_batch(prompts, add_special_tokens=False)
        return [entry.ids for entry in encoded], None, {}


class PolicyTrainer(_RenderedPrompts, _Placed, GRPOTrainer):
    """GRPO on rendered prompts."""

    companions: Sequence[Companion] = ()


class _TeacherIsHere(_Placed, DistillationTrainer):
    """The exact divergence; beside it, now and then, how far the two agree on the likeliest tokens."""

    companions: Sequence[Companion] = ()
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
        with _watched_divergence(partial(self._look, inputs)):
            return super()._compute_loss(unwrapped_student, inputs, num_items_in_batch)

    def _looks(self) -> bool:
        step = self.state.global_step + 1
        return self.overlap_every is not None and (step % self.overlap_every == 0 or step in (1, self.state.max_steps))

    def _look(self, inputs: dict[str, Any], *given: Any) -> None:
        """`given`: what the divergence was asked of, hidden states [N, H] and heads of student and teacher first."""
        student_NH, student_head, student_bias, teacher_NH, teacher_head, teacher_bias = given[:6]
        mask_N = inputs["completion_mask"].bool().view(-1)
        # TRL leaves padding away on GPUs only.
        at_M = mask_N.nonzero().squeeze(-1) if len(student_NH) == len(mask_N) else slice(None)
        overlap_M = top_k_overlap(
            student_NH[at_M], student_head, student_bias, teacher_NH[at_M], teacher_head, teacher_bias,
            top_k=self.overlap_top_k, gathered=maybe_gather_lm_head_ctx,
        )  # fmt: skip
        here = torch.stack([overlap_M.sum(), overlap_M.new_tensor(len(overlap_M))])
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


class OnPolicyTrainer(_RenderedPrompts, _TeacherIsHere):
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


class _ScoredByTeacher(_Placed, DistillationTrainer):
    """The loss against a teacher that is not here: its K best words at each position, and a tail."""

    teacher: Teacher
    direction: Direction

    def _generate_and_score_completions(self, inputs: list[dict[str, Any]]) -> dict[str, Any]:
        batch: dict[str, Any] = super()._generate_and_score_completions(inputs)
        pairs = zip(_unpadded(batch, "prompt"), _unpadded(batch, "completion"), strict=True)
        batch["teacher_scores"] = self.teacher.scores(list(pairs))
        return batch

    def _compute_loss(
        self, unwrapped_student: Any, inputs: dict[str, Any], num_items_in_batch: torch.Tensor | int | None
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        mask_BT = inputs["completion_mask"].bool()
        hidden_BTH = self._get_last_hidden_state(
            unwrapped_student,
            torch.cat([inputs["prompt_ids"], inputs["completion_ids"]], dim=1),
            torch.cat([inputs["prompt_mask"], inputs["completion_mask"]], dim=1),
            mask_BT.shape[1],
        )
        head = unwrapped_student.get_output_embeddings()
        weight, bias = (p.full_tensor() if hasattr(p, "full_tensor") else p for p in (head.weight, head.bias))
        ids_NK, teacher_NK = self._teacher_words(inputs, mask_BT)
        student_NK, entropy_N = logprobs_at(
            hidden_BTH[mask_BT], weight, bias, ids_NK, gathered=maybe_gather_lm_head_ctx
        )
        vocabulary = unwrapped_student.config.get_text_config().vocab_size  # a sharded head has no length of its own
        loss = loss_sum(
            student_NK, teacher_NK, top_k=self.teacher.top_k, vocabulary=vocabulary, direction=self.direction
        )
        divisor = loss.tokens.clamp(min=1) if num_items_in_batch is None else num_items_in_batch
        return loss.total / divisor, entropy_N.sum(), loss.tokens

    def _teacher_words(self, inputs: dict[str, Any], mask_BT: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Word ids and the teacher's log-probabilities [N, K] of the batch's tokens; the sampled ones where K = 0."""
        scores = inputs["teacher_scores"]
        if self.teacher.top_k == 0:
            ids_NK = inputs["completion_ids"][mask_BT].unsqueeze(-1)
            teacher_NK = torch.cat([torch.from_numpy(s.sampled_T.copy()) for s in scores]).unsqueeze(-1)
        else:
            ids_NK = torch.cat([torch.from_numpy(s.ids_TK.copy()) for s in scores])
            teacher_NK = torch.cat([torch.from_numpy(s.logprobs_TK.copy()) for s in scores])
        return ids_NK.to(mask_BT.device), teacher_NK.to(mask_BT.device)


class ScoredOnPolicyTrainer(_ScoredByTeacher, OnPolicyTrainer):
    """Distillation on the student's own rollouts, the teacher asked for its scores."""


class ScoredCachedRolloutsTrainer(_ScoredByTeacher, CachedRolloutsTrainer):
    """Distillation on cached rollouts, the teacher's scores asked for or cached too."""


def _unpadded(batch: dict[str, Any], part: str) -> list[list[int]]:
    ids, mask = batch[f"{part}_ids"].cpu(), batch[f"{part}_mask"].cpu().bool()
    return [row[kept].tolist() for row, kept in zip(ids, mask, strict=True)]


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


def generate_with(trainer: Any, engine: TrainerEngine, renderer: PromptRenderer) -> Any:
    """Put our engine where TRL keeps its vLLM object; the loop finds it as `engine`."""
    engine.trainer = trainer
    trainer.renderer = renderer
    trainer.engine = trainer.vllm_generation = engine
    trainer.use_vllm = True
    trainer._last_loaded_step = -1
    trainer.add_callback(_KeepsRolloutsAhead(engine))
    return trainer


class _KeepsRolloutsAhead(TrainerCallback):
    """What is being written for the next optimizer step goes into the resume point, and comes from there."""

    def __init__(self, engine: TrainerEngine) -> None:
        self.engine = engine

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self.engine.load_ahead(Path(args.output_dir) / f"checkpoint-{state.global_step}")

    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self.engine.save_ahead(Path(args.output_dir) / f"checkpoint-{state.global_step}")
