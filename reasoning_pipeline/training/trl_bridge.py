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
  token's divergence and the student's entropy, and adds the divergences up: what a token weighs comes in between.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import trl.import_utils as trl_imports

# The trainer process never talks to vLLM's Python side; importing it there would cost seconds and gigabytes.
trl_imports.is_vllm_available = lambda *args, **kwargs: False

import torch  # noqa: E402
from transformers import TrainerCallback  # noqa: E402
from trl import DistillationConfig, DistillationTrainer, GRPOConfig, GRPOTrainer, SFTConfig, SFTTrainer  # noqa: E402
from trl.trainer import distillation_trainer  # noqa: E402
from trl.trainer.utils import maybe_gather_lm_head_ctx  # noqa: E402

from reasoning_pipeline.data.prompts import PromptRenderer  # noqa: E402
from reasoning_pipeline.errors import PipelineError  # noqa: E402
from reasoning_pipeline.rollouts.engine import TrainerEngine  # noqa: E402
from reasoning_pipeline.training.divergence import Direction, loss_sum  # noqa: E402
from reasoning_pipeline.training.teachers import Teacher  # noqa: E402
from reasoning_pipeline.training.tiled_logits import logprobs_at, top_k_overlap  # noqa: E402
from reasoning_pipeline.training.weighting import (  # noqa: E402
    TokenWeighting,
    group_advantages,
    mean_one,
    policy_gradient,
    rollout_weights,
)

__all__ = ["DistillationConfig", "GRPOConfig", "SFTConfig", "SFTTrainer"]

REVERSE_KL, FORWARD_KL = 1.0, 0.0
"""TRL's `beta`: 1 is KL(student || teacher), 0 is KL(teacher || student), exact over the vocabulary, in tiles."""

_LOGIT_TRANSFORMS = ("logit_scale", "output_multiplier", "lm_head_multiplier", "logits_scaling",
                     "final_logit_softcapping")  # fmt: skip


class _RenderedPrompts:
    """Takes prompts that data/prompts.py has rendered; adds no special token."""

    renderer: PromptRenderer

    def _tokenize_prompts(self, prompts: list[str]) -> tuple[list[list[int]], None, dict[str, Any]]:
        encoded = self.renderer.tokenizer.encode_batch(prompts, add_special_tokens=False)
        return [entry.ids for entry in encoded], None, {}


class PolicyTrainer(_RenderedPrompts, GRPOTrainer):
    """GRPO on rendered prompts."""


@dataclass(frozen=True)
class TokenTerms:
    """What a token's loss is, beyond its divergence."""

    token_weighting: TokenWeighting = "uniform"
    """By the entropy of the side that leads the divergence, mean 1 over the micro batch of a process: the entropies
    of the other micro batches are not known before their own passes."""
    reward: Any = None
    """A VerifiedReward; the group-relative policy gradient of its verdicts is added."""
    reward_coefficient: float = 0.0
    group_size: int = 1


class _TeacherIsHere(DistillationTrainer):
    """The exact divergence, of which each token's share can be weighed, and beside which the models are compared."""

    terms = TokenTerms()
    overlap_top_k, overlap_every = 16, 5
    """`top_k_overlap` is looked at every so many optimizer steps, and at the first and the last."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._observed: dict[str, torch.Tensor] = {}
        """Name -> (sum, tokens) of this optimizer step in this process."""
        super().__init__(*args, **kwargs)

    def _generate_and_score_completions(self, inputs: list[dict[str, Any]]) -> dict[str, Any]:
        batch: dict[str, Any] = super()._generate_and_score_completions(inputs)
        if "difficulty" in inputs[0]:
            difficulty_B = torch.tensor([row["difficulty"] for row in inputs], device=batch["completion_ids"].device)
            mine = torch.stack([difficulty_B, batch["completion_mask"].sum(1).float()], dim=1)
            all_B2, first = self.accelerator.gather(mine), self.accelerator.process_index * len(mine)
            batch["rollout_weights"] = rollout_weights(all_B2[:, 0], all_B2[:, 1])[first : first + len(mine)]
        if self.terms.reward is not None:
            batch["advantages"] = self._advantages(inputs, batch)
        return batch

    def _advantages(self, inputs: list[dict[str, Any]], batch: dict[str, Any]) -> torch.Tensor:
        """[B], of this process's rollouts; groups are whole in it."""
        metrics, completion_ids = self._metrics["train"], _unpadded(batch, "completion")
        tokenizer: Any = self.processing_class
        rewards = self.terms.reward(
            completions=tokenizer.batch_decode(completion_ids, skip_special_tokens=True),
            completion_ids=completion_ids,
            answer=[row["answer"] for row in inputs],
            question=[row["question"] for row in inputs],
            log_metric=lambda name, value: metrics[name].append(value),
        )
        rewards_B = torch.tensor([float("nan") if r is None else r for r in rewards])
        metrics["reward"].append(rewards_B.nanmean().item())
        return group_advantages(rewards_B.view(-1, self.terms.group_size)).view(-1).to(batch["completion_ids"].device)

    def _compute_loss(
        self, unwrapped_student: Any, inputs: dict[str, Any], num_items_in_batch: torch.Tensor | int | None
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        with _each_token(partial(self._token_losses, inputs)):
            return super()._compute_loss(unwrapped_student, inputs, num_items_in_batch)

    def _token_losses(
        self, inputs: dict[str, Any], divergence: Callable[..., Any], *given: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """(loss, the student's entropy) of each token; of padding too, where the divergence was asked of all."""
        student_NH, student_head, student_bias, teacher_NH, teacher_head, teacher_bias, beta, temperature = given[:8]
        loss_N, entropy_N = divergence(*given)
        mask_BT = inputs["completion_mask"].bool()
        in_mask_M = mask_BT.view(-1).nonzero().squeeze(-1)
        # TRL leaves padding away on GPUs only.
        at_M = in_mask_M if len(loss_N) == mask_BT.numel() else torch.arange(len(loss_N), device=loss_N.device)
        if self._looks():
            overlap_M = top_k_overlap(
                student_NH[at_M], student_head, student_bias, teacher_NH[at_M], teacher_head, teacher_bias,
                top_k=self.overlap_top_k, gathered=maybe_gather_lm_head_ctx,
            )  # fmt: skip
            self._observe("top_k_overlap", overlap_M)
        if self.terms == TokenTerms() and "rollout_weights" not in inputs:
            return loss_N, entropy_N

        def per_token(values_B: torch.Tensor) -> torch.Tensor:
            return values_B.unsqueeze(1).expand(mask_BT.shape).reshape(-1)[in_mask_M]

        loss_M = loss_N[at_M]
        self._observe("kl", loss_M.detach())
        if self.terms.token_weighting == "entropy":
            if beta == REVERSE_KL:
                leading_M = entropy_N[at_M]
            else:
                any_M1 = at_M.new_zeros(len(at_M), 1)
                with torch.no_grad():
                    _, leading_M = logprobs_at(
                        teacher_NH[at_M], teacher_head, teacher_bias, any_M1, temperature=temperature
                    )
            loss_M = loss_M * mean_one(leading_M)
        if "rollout_weights" in inputs:
            loss_M = loss_M * per_token(inputs["rollout_weights"])
        if "advantages" in inputs:
            ids_M1 = inputs["completion_ids"].reshape(-1)[in_mask_M].unsqueeze(-1)
            logprobs_M1, _ = logprobs_at(student_NH[at_M], student_head, student_bias, ids_M1, temperature=temperature)
            gradient_M = policy_gradient(logprobs_M1.squeeze(-1), per_token(inputs["advantages"]))
            loss_M = loss_M + self.terms.reward_coefficient * gradient_M
        return torch.zeros_like(loss_N).index_copy(0, at_M, loss_M), entropy_N

    def _looks(self) -> bool:
        """Not beside a watch, whose `top_k_overlap` is of rollouts that the student has just written."""
        step = self.state.global_step + 1
        due = step % self.overlap_every == 0 or step in (1, self.state.max_steps)
        return due and getattr(self, "watch", None) is None

    def _observe(self, name: str, values_M: torch.Tensor) -> None:
        """Add to what is logged as a mean over all tokens of the optimizer step."""
        here = torch.stack([values_M.sum(), values_M.new_tensor(len(values_M))])
        self._observed[name] = self._observed[name] + here if name in self._observed else here

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Collective where something was observed; all processes observe at the same steps."""
        observed, self._observed = self._observed, {}
        for name, here in observed.items():
            total, tokens = self.accelerator.reduce(here, reduction="sum").tolist()
            if tokens:
                logs[name] = total / tokens
        super().log(logs, start_time)


@contextmanager
def _each_token(loss: Callable[..., Any]) -> Iterator[None]:
    """Within it, TRL's loss takes each token's share from `loss(divergence, ...)`."""
    module: Any = distillation_trainer
    divergence = module.ChunkedDivergenceFunction
    module.ChunkedDivergenceFunction = SimpleNamespace(apply=partial(loss, divergence.apply))
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


class _ScoredByTeacher(DistillationTrainer):
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
    if present := _transforms(trainer.model):
        raise PipelineError(
            f"the student's logits are transformed ({', '.join(present)}), which the top-K divergence does not know",
            remedy="run with `teacher: trainer` in the hardware profile",
        )
    trainer.teacher, trainer.direction = teacher, direction


def weigh_with(trainer: Any, terms: TokenTerms) -> None:
    """Give a trainer that has the teacher other terms than the divergence alone. Raises PipelineError for models
    whose head is more than a projection."""
    for whose, model in (("student", trainer.model), ("teacher", trainer.teacher_model)):
        if present := _transforms(model):
            raise PipelineError(
                f"the {whose}'s logits are transformed ({', '.join(present)}), which the weighted loss does not know",
                remedy="set token_weighting: uniform and leave reward_coefficient away",
            )
    trainer.terms = terms
    if terms.reward is not None:
        trainer.reward_funcs = [terms.reward]  # where the training loop looks for verdicts


def _transforms(model: Any) -> list[str]:
    config = model.config.get_text_config()
    return [name for name in _LOGIT_TRANSFORMS if getattr(config, name, None) is not None]


def generate_with(trainer: Any, engine: TrainerEngine, renderer: PromptRenderer) -> Any:
    """Put our engine where TRL keeps its vLLM object."""
    engine.trainer = trainer
    trainer.renderer = renderer
    trainer.vllm_generation = engine
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
