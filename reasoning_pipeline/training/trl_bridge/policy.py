"""GRPO, scored in passes of our own."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
from trl import GRPOConfig, GRPOTrainer
from trl.models.utils import disable_gradient_checkpointing
from trl.trainer import grpo_trainer
from trl.trainer.utils import use_adapter

from reasoning_pipeline.errors import PipelineError
from reasoning_pipeline.training.companions import Companion
from reasoning_pipeline.training.in_passes import Pass
from reasoning_pipeline.training.packing import check_kept_apart
from reasoning_pipeline.training.rows import Row, padded, rows_of
from reasoning_pipeline.training.sharding import load_for_training, shard_frozen
from reasoning_pipeline.training.trl_bridge.generating import RenderedPrompts
from reasoning_pipeline.training.trl_bridge.trainer import Trained

__all__ = ["GRPOConfig", "PolicyTrainer"]

# The start that a KL penalty looks back to: read once and divided by layers, not as one piece.
grpo_trainer.create_model_from_path = lambda folder, **_: load_for_training(Path(folder))
grpo_trainer.prepare_fsdp = shard_frozen


class PolicyTrainer(RenderedPrompts, Trained, GRPOTrainer):
    """GRPO on rendered prompts. With one optimizer step a batch the policy that is trained is the one that should have
    written: the pass itself says with which probability, and no forward pass is made for that alone. A rollout whose
    advantage is 0, as all are of a group that is all right or all wrong, has no gradient and goes through no model;
    the loss is divided by all rollouts as ever."""

    companions: Sequence[Companion] = ()
    _compared: torch.Tensor
    """With whoever wrote, in this optimizer step and process: sums over tokens of importance ratios, of the size of
    their logarithms before truncation, of those truncated, and of ones; the largest difference."""

    def _own_rows(self, inputs: list[dict[str, Any]]) -> tuple[list[Row], dict[str, Any]]:
        corrects, beta = self.vllm_importance_sampling_correction, self.beta
        self.vllm_importance_sampling_correction, self.beta = False, 0.0
        try:
            batch = self._generate_and_score_completions(inputs)
        finally:
            self.vllm_importance_sampling_correction, self.beta = corrects, beta
        self._rows_in_batch = len(inputs) * self.accelerator.num_processes
        self._compared = torch.zeros(5, device=self.accelerator.device)
        rows = rows_of(batch)
        if self.beta == 0.0:  # a KL penalty has a gradient at every token
            # One at least in each process: a batch without a gradient is a step like any other, with a loss of 0.
            rows = [row for row in rows if row.columns["advantages"] != 0] or [min(rows, key=lambda row: row.length)]
        return rows, {"num_items_in_batch": batch["num_items_in_batch"]}

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
            whole_BT = gap_BT.exp()
            inputs["importance_sampling_ratio"] = ratio_BT = whole_BT.clamp(*bounds)
            if gap_BT.numel():
                cut_BT = whole_BT != ratio_BT  # never where the mask is 0: the gap is 0 there
                sums = (ratio_BT * mask_BT).sum(), gap_BT.abs().sum(), cut_BT.sum(), mask_BT.sum()
                self._compared[:4] += torch.stack(sums)
                self._compared[4] = torch.maximum(self._compared[4], gap_BT.abs().max())
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
        if self._divided:
            logs = logs | {"rollouts_trained": self._rows / self._rows_in_batch}
        if self.vllm_importance_sampling_correction and hasattr(self, "_compared"):
            *sums, gaps = self.accelerator.gather(self._compared).view(-1, 5).T
            ratio, size, cut, tokens = (float(each.sum()) for each in sums)
            names = "importance_ratio", "importance_log_ratio", "importance_truncated"
            logs = logs | {"sampler_mismatch": float(gaps.max())}
            logs |= {name: each / max(tokens, 1) for name, each in zip(names, (ratio, size, cut), strict=True)}
        super().log(logs, start_time)
