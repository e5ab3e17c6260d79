"""The one file that knows TRL's insides (1.16). Everything of TRL is imported through it; tests fail when TRL moves.

What it relies on, beyond the public API:
- both trainers generate through `vllm_generation.sync_weights()` and `.generate(...)` when `use_vllm` is true, and
  sync when `state.global_step != _last_loaded_step`; our engine stands in that place;
- they ask for one batch per optimizer step, of consecutive rows, each process its share (batches.py);
- `_tokenize_prompts` turns the `prompt` column into ids; ours renders nothing, the prompts come rendered;
- `DistillationTrainer._generate_single_turn` returns completion ids; for cached rollouts it returns those;
- a trainer asks `training_step` for one batch at a time; with one a step, its passes are ours (in_passes.py), and each
  pass is handed to TRL's own loss: `_own_rows` has the batch generated and scored, `_loss_inputs` is what TRL's
  `_compute_loss` reads of a pass;
- GRPO's `_compute_loss` asks `_get_per_token_logps_and_entropies` for log-probabilities [B, T] before it reads
  `importance_sampling_ratio` and takes its own, detached, for the old ones; it divides by
  `current_gradient_accumulation_steps`. Before, `_generate_and_score_completions` scores a policy only for the
  sampler's correction, and a start only where `beta` is not 0;
- distillation's `_compute_loss` asks `_get_last_hidden_state` of either model for hidden states [B, T, H] and reads
  `completion_mask`: one long row [1, N] serves as well as a padded batch;
- `model(shift_labels=…, fused_lm_head=True)` scores the labels given, and projects no other position where the
  `_use_triton` of its module says so; the sizes of tiles are attributes of modules;
- `_metrics["train"]` holds a list for each name until the next log;
- with a teacher that is not in the trainer, batch and `_compute_loss` carry and use its scores; `teacher_model` may be
  None;
- with the teacher in the trainer, `_compute_loss` asks `distillation_trainer.ChunkedDivergenceFunction` for each
  token's divergence, from the two models' hidden states and heads: `top_k_overlap` is taken from the same;
- `DPOTrainer` turns its rows into `prompt_ids`, `chosen_ids` and `rejected_ids` in `_prepare_dataset`; ours come so;
- the distillation trainer leaves its teacher where it was loaded, as `teacher_model`, when its __init__ ends; GRPO's
  makes the start of the KL penalty by `grpo_trainer.create_model_from_path` and divides it by
  `grpo_trainer.prepare_fsdp`: both go the way of our models (sharding.py).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from functools import partial
from math import isnan
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
from trl.kernels import chunked_divergence, chunked_logprob  # noqa: E402
from trl.models.utils import disable_gradient_checkpointing  # noqa: E402
from trl.trainer import distillation_trainer, grpo_trainer  # noqa: E402
from trl.trainer import utils as trl_utils  # noqa: E402
from trl.trainer.utils import maybe_gather_lm_head_ctx, use_adapter  # noqa: E402

from reasoning_pipeline.data.prompts import PromptRenderer  # noqa: E402
from reasoning_pipeline.errors import PipelineError  # noqa: E402
from reasoning_pipeline.estimates.memory import CPU_TILE_TOKENS, CPU_TILE_WORDS  # noqa: E402
from reasoning_pipeline.rollouts.engine import TrainerEngine  # noqa: E402
from reasoning_pipeline.training.batches import IGNORED  # noqa: E402
from reasoning_pipeline.training.companions import Companion  # noqa: E402
from reasoning_pipeline.training.divergence import Direction, loss_sum  # noqa: E402
from reasoning_pipeline.training.in_passes import InPasses, Pass  # noqa: E402
from reasoning_pipeline.training.packing import (  # noqa: E402
    check_kept_apart,
    hidden_states,
)
from reasoning_pipeline.training.rows import Row, padded, rows_of  # noqa: E402
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

# Only positions that count are multiplied with the head; TRL does so where it has Triton kernels.
trl_utils._use_triton = distillation_trainer._use_triton = lambda device: True

BETA: dict[Direction, float] = {"reverse": 1.0, "forward": 0.0}
"""TRL's `beta`: 1 is KL(student || teacher), 0 is KL(teacher || student), exact over the vocabulary, in tiles."""

_LOGIT_TRANSFORMS = ("logit_scale", "output_multiplier", "lm_head_multiplier", "logits_scaling",
                     "final_logit_softcapping")  # fmt: skip


@contextmanager
def _fitting_tiles(device: torch.device) -> Iterator[None]:
    """On CPUs as few logits at a time as stay in a cache: 2.5 times as fast as TRL's size for a divergence over 32,768
    words, in a thirty-second of its memory."""
    places = [
        (chunked_divergence, "TOKEN_CHUNK_SIZE", CPU_TILE_TOKENS),
        (chunked_logprob, "TOKEN_CHUNK_SIZE", CPU_TILE_TOKENS),
        (chunked_divergence, "VOCAB_CHUNK_SIZE", CPU_TILE_WORDS),
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


class _Trained(InPasses, _Placed):
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
            with _fitting_tiles(trainer.accelerator.device):
                yield weighed
        finally:
            trainer._metrics["train"] = outside
        for name, (value, tokens) in sums.items():
            if tokens:
                outside[name].append(value / tokens)


class SFTTrainer(_Trained, TRLSFTTrainer):
    """Hard labels: rows of `input_ids` and `labels`, the prompt's tokens IGNORED."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, data_collator=list, **kwargs)

    def _own_rows(self, inputs: list[dict[str, Any]]) -> tuple[list[Row], dict[str, Any]]:
        rows = []
        for row in inputs:
            prompt = sum(label == IGNORED for label in row["labels"])
            rows.append(Row(row["input_ids"][:prompt], row["input_ids"][prompt:]))
        tokens = torch.tensor(sum(len(row.completion_ids) for row in rows), device=self.accelerator.device)
        return rows, {"num_items_in_batch": self.accelerator.reduce(tokens, reduction="sum")}

    def _loss_inputs(self, part: Pass, like: Row) -> dict[str, Any]:
        labels = part.packed.shift_labels if part.rows else torch.full_like(part.packed.input_ids, IGNORED)
        ids = {"input_ids": part.packed.input_ids, "position_ids": part.packed.position_ids, "shift_labels": labels}
        return ids | part.packed.attention

    def compute_loss(self, model: Any, inputs: Any, return_outputs: Any = False, num_items_in_batch: Any = None) -> Any:
        inputs = {name: value for name, value in inputs.items() if name != "num_items_in_batch"}
        loss = super().compute_loss(model, inputs, return_outputs, num_items_in_batch)
        if self._pass is not None:
            check_kept_apart(self.model, self._pass.packed)
        return loss


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


class PolicyTrainer(_RenderedPrompts, _Trained, GRPOTrainer):
    """GRPO on rendered prompts. With one optimizer step a batch the policy that is trained is the one that should have
    written: the pass itself says with which probability, and no forward pass is made for that alone."""

    companions: Sequence[Companion] = ()
    _compared: torch.Tensor
    """With whoever wrote, in this optimizer step and process: sum of importance ratios, tokens, largest difference."""

    def _own_rows(self, inputs: list[dict[str, Any]]) -> tuple[list[Row], dict[str, Any]]:
        corrects, beta = self.vllm_importance_sampling_correction, self.beta
        self.vllm_importance_sampling_correction, self.beta = False, 0.0
        try:
            batch = self._generate_and_score_completions(inputs)
        finally:
            self.vllm_importance_sampling_correction, self.beta = corrects, beta
        self._rows_in_batch = len(inputs) * self.accelerator.num_processes
        self._compared = torch.zeros(3, device=self.accelerator.device)
        return rows_of(batch), {"num_items_in_batch": batch["num_items_in_batch"]}

    def _loss_inputs(self, part: Pass, like: Row) -> dict[str, Any]:
        return padded(part.rows, part.widest, like, self.accelerator.device)

    def _beside(self) -> list[Any]:
        return [] if self.ref_model is None else [self.accelerator.unwrap_model(self.ref_model)]

    def _before(self, passes: list[Pass]) -> None:
        """The start's log-probabilities, for the KL penalty."""
        if self.beta == 0.0:
            return
        adapted = self.accelerator.unwrap_model(self.model) if self.ref_model is None else None
        policy: Any = self.model
        options: Any = self.args.gradient_checkpointing_kwargs
        with torch.no_grad(), disable_gradient_checkpointing(policy, options):
            for part in passes:
                start = policy if self.ref_model is None else self.ref_model
                with use_adapter(adapted, None) if adapted is not None else nullcontext():
                    part.inputs["ref_per_token_logps"] = self._logprobs(start, part)[0]

    def _compute_loss(self, model: Any, inputs: dict[str, Any]) -> torch.Tensor:
        # What TRL divides a pass's sum or mean by, besides; so that the passes sum up to the loss of the whole batch.
        if self._pass is None:
            return super()._compute_loss(model, inputs)
        processes, widest = self.accelerator.num_processes, self._pass.widest
        share = 1.0  # `dapo` divides by all tokens already
        if self.loss_type in ("grpo", "dr_grpo"):
            share = self._rows_in_batch / (processes * widest)
        elif self.loss_type == "bnpo":
            share = float(inputs["num_items_in_batch"]) / processes / max(int(inputs["completion_mask"].sum()), 1)
        self.current_gradient_accumulation_steps: Any = share
        return super()._compute_loss(model, inputs)

    def _get_per_token_logps_and_entropies(self, model: Any, *given: Any, **asked: Any) -> tuple[Any, Any, Any]:
        part = self._pass
        if part is None:
            return super()._get_per_token_logps_and_entropies(model, *given, **asked)
        if asked.get("compute_aux_loss"):
            raise PipelineError("experts that balance their load are not trained here", remedy="use a dense model")
        logprobs_BT, entropies_BT = self._logprobs(model, part)
        inputs = part.inputs
        if self.vllm_importance_sampling_correction:
            written_BT, mask_BT = inputs["sampling_per_token_logps"], inputs["completion_mask"]
            gap_BT = torch.nan_to_num((logprobs_BT.detach() - written_BT) * mask_BT, nan=0.0)
            bounds = self.vllm_importance_sampling_clip_min, self.vllm_importance_sampling_clip_max
            inputs["importance_sampling_ratio"] = ratio_BT = gap_BT.exp().clamp(*bounds)
            if gap_BT.numel():
                self._compared[:2] += torch.stack([(ratio_BT * mask_BT).sum(), mask_BT.sum()])
                self._compared[2] = torch.maximum(self._compared[2], gap_BT.abs().max())
        return logprobs_BT, entropies_BT, None

    def _logprobs(self, model: Any, part: Pass) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Of the pass's completion tokens under a model, and its entropies where it has them; [B, T], 0 where there is
        no token."""
        packed, mask_BT = part.packed, part.inputs["completion_mask"].bool()
        with self.accelerator.autocast():
            scored = model(
                input_ids=packed.input_ids,
                position_ids=packed.position_ids,
                shift_labels=packed.shift_labels,
                fused_lm_head=True,
                **packed.attention,
            )
        check_kept_apart(self.accelerator.unwrap_model(model), packed)

        def spread(values_1L: torch.Tensor) -> torch.Tensor:
            values_N = values_1L[0, packed.predicts_N]
            spread_BT = values_N.new_zeros(mask_BT.shape).masked_scatter(mask_BT, values_N)
            # A process without rows has a row of nothing to derive, so that its gradients are there, and zero.
            return spread_BT if part.rows else spread_BT + 0.0 * values_N.sum()

        return spread(scored.log_probs), None if scored.entropy is None else spread(scored.entropy)

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Collective."""
        if self.vllm_importance_sampling_correction and hasattr(self, "_compared"):
            ratios, tokens, gaps = self.accelerator.gather(self._compared).view(-1, 3).T
            mean = float(ratios.sum() / tokens.sum().clamp(min=1))
            logs = logs | {"sampler_mismatch": float(gaps.max()), "importance_ratio": mean}
        super().log(logs, start_time)


class _Distils(_Trained, DistillationTrainer):
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


class _TeacherIsHere(_Distils):
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
        with _watched_divergence(partial(self._look, inputs)):
            return super()._compute_loss(unwrapped_student, inputs, num_items_in_batch)

    def _looks(self) -> bool:
        step = self.state.global_step + 1
        return self.overlap_every is not None and (step % self.overlap_every == 0 or step in (1, self.state.max_steps))

    def _look(self, inputs: dict[str, Any], *given: Any) -> None:
        """`given`: what the divergence was asked of, hidden states [N, H] and heads of student and teacher first."""
        student_NH, student_head, student_bias, teacher_NH, teacher_head, teacher_bias = given[:6]
        overlap_N = top_k_overlap(
            student_NH, student_head, student_bias, teacher_NH, teacher_head, teacher_bias,
            top_k=self.overlap_top_k, gathered=maybe_gather_lm_head_ctx,
        )  # fmt: skip
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


class _ScoredByTeacher(_Distils):
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
        head = unwrapped_student.get_output_embeddings()
        weight, bias = (p.full_tensor() if hasattr(p, "full_tensor") else p for p in (head.weight, head.bias))
        ids_NK, teacher_NK = self._teacher_words(inputs, mask_N)
        student_NK, entropy_N = logprobs_at(hidden_NH[mask_N], weight, bias, ids_NK, gathered=maybe_gather_lm_head_ctx)
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
