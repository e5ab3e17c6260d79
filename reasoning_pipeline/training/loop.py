"""Running a trainer to its end: resume points, stop requests, metrics, and the model that comes out."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from transformers import TrainerCallback

from reasoning_pipeline.errors import PipelineError, Stopped
from reasoning_pipeline.hardware.launcher import has_launcher, sharding_kind
from reasoning_pipeline.models.description import carry_over
from reasoning_pipeline.rollouts.engine import TrainerEngine
from reasoning_pipeline.rollouts.weights.proof import local_probe
from reasoning_pipeline.run.context import StageContext, StageOutcome
from reasoning_pipeline.run.metrics import Metrics, read_metrics
from reasoning_pipeline.training.companions import Companion
from reasoning_pipeline.training.converting import loadable
from reasoning_pipeline.training.layouts import Layout, Written, earlier_layouts, layout_of, save_layout
from reasoning_pipeline.training.lora import save_whole_model
from reasoning_pipeline.training.optimizer_state import check_loaded, optimizer_parameters, optimizer_sums
from reasoning_pipeline.training.resume import (
    complete,
    last_complete,
    own_state,
    readable,
    save_own_state,
    step_of,
)

_TRL_NAMES = {
    "reward": "reward",
    "loss": "loss",
    "entropy": "entropy",
    "learning_rate": "learning_rate",
    "grad_norm": "grad_norm",
    "completions/mean_length": "completion_tokens",
    "completions/clipped_ratio": "truncated",
    "sampler_mismatch": "sampler_mismatch",
    "importance_ratio": "importance_ratio",
    "importance_log_ratio": "importance_log_ratio",
    "importance_truncated": "importance_truncated",
    "frac_reward_zero_std": "frac_reward_zero_std",  # of rollouts; with `scale_advantages: batch` of whole batches
    "top_k_overlap": "top_k_overlap",
    "kl": "kl",  # GRPO with a kl_coefficient: to the start policy, TRL's estimate from the sampled tokens
    "clip_ratio/region_mean": "clip_ratio",
    "clip_ratio/low_mean": "clip_ratio_low",
    "clip_ratio/high_mean": "clip_ratio_high",
    "rollouts_trained": "rollouts_trained",
    "passes": "passes",
    "padding": "padding",
    "imbalance": "imbalance",
}


def train(trainer: Any, context: StageContext) -> StageOutcome:
    """Train, from the last complete resume point if there is one, and save what is to be published.

    Raises:
        Stopped: After saving a resume point, when a stop was asked for.
        PipelineError: Another launcher or another division was asked for than runs, or wrote the resume point; or the
            optimizer's state was not loaded.
    """
    checkpoints = context.work / "checkpoints"
    resume = last_complete(checkpoints)
    resumed_at = step_of(resume) if resume else 0
    main = trainer.accelerator.is_main_process
    check_launch(context, trainer)
    layout = layout_of(trainer, context.profile)
    before = readable(resume, layout, context.label) if resume else None
    metrics = context.start_metrics(total_steps=trainer.args.max_steps, resumed_at=resumed_at) if main else None
    callback = _Reporter(context, trainer, metrics, layout, before)
    callback.restore(own_state(resume, trainer.accelerator.process_index, layout.processes))
    trainer.add_callback(callback)
    if resume is not None and before is not None:
        if main:
            other = "" if before.layout.like(layout) else f": {before.layout.text} wrote it, {layout.text} goes on"
            print(f"resuming after optimizer step {resumed_at} of {trainer.args.max_steps}{other}")
        resume = loadable(resume, before.layout, layout, trainer)
    trainer.train(resume_from_checkpoint=str(resume) if resume else None)
    if callback.stopped:
        raise Stopped(
            f"{context.label} stopped after optimizer step {trainer.state.global_step}", remedy="run again to continue"
        )
    return _save(context, trainer, metrics, callback)


def check_launch(context: StageContext, trainer: Any) -> None:
    """Refuse to train in another shape than the profile asks for: launchers fall back to one process in silence."""
    found = trainer.accelerator.num_processes
    if found != context.profile.processes:
        raise PipelineError(
            f"the profile {context.profile.name!r} asks for {context.profile.processes} trainer processes, "
            f"{found} started ({trainer.accelerator.distributed_type})",
            remedy="check accelerate_config: on CPUs only DeepSpeed and torchrun start more than one",
        )
    asked = sharding_kind(context.profile) if has_launcher(context.profile) else "NO"
    runs = trainer.accelerator.distributed_type.value
    if runs != asked and (asked, runs) != ("MULTI_GPU", "MULTI_CPU"):  # data parallel both, by two names
        raise PipelineError(
            f"accelerate_config {context.profile.accelerate_config} asks for {asked}, but {runs} runs",
            remedy="accelerate falls back in silence (FSDP needs GPUs); choose one that this machine can run",
        )
    precision = {"float32": "no", "bfloat16": "bf16"}[context.profile.precision]
    if trainer.accelerator.mixed_precision != precision:
        raise PipelineError(
            f"the profile {context.profile.name!r} asks for precision {context.profile.precision} ({precision!r} to "
            f"accelerate), but {trainer.accelerator.mixed_precision!r} runs",
            remedy="leave precision to the profile: accelerate_config and `environment` must not name another",
        )


class _Reporter(TrainerCallback):
    """Writes metrics after each optimizer step, completes resume points, stops on request."""

    def __init__(
        self, context: StageContext, trainer: Any, metrics: Metrics | None, layout: Layout, before: Written | None
    ) -> None:
        self.context, self.trainer, self.metrics = context, trainer, metrics
        self.layout, self.before = layout, before
        """Of this trainer; what the resume point says that it goes on from."""
        self.earlier = earlier_layouts(before, layout)
        """Layouts that other parts of this training went through."""
        self.stopped = False
        self.saving_seconds = 0.0
        """What training waited for resume points, over interruptions."""
        self._saving_since = 0.0
        self._last_time, self._last_tokens = time.monotonic(), 0

    def restore(self, own: dict[str, Any]) -> None:
        """Go on counting where the resume point stopped."""
        self.saving_seconds = own.get("saving_seconds", 0.0)
        if (engine := _engine(self.trainer)) is not None:
            engine.tokens_generated = self._last_tokens = own.get("tokens_generated", 0)
        for companion in _companions(self.trainer):
            companion.restore(own)

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """The trainer has loaded what it could: is that what the resume point holds?"""
        self._last_time = time.monotonic()
        self.layout = replace(self.layout, parameters=optimizer_parameters(self.trainer))
        if self.before is not None:
            check_loaded(self.before, self.layout, optimizer_sums(self.trainer), state.global_step)

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if any([companion.look(state.global_step) for companion in _companions(self.trainer)]):
            # Nothing is left to resume: a resume point here would be one step too many after a kill.
            control.should_training_stop, control.should_save = True, False
            return
        if _any_rank(self.trainer, self.context.should_stop()):
            control.should_save = control.should_training_stop = True
            self.stopped = state.global_step < state.max_steps
        self._saving_since = time.monotonic()

    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        point = Path(args.output_dir) / f"checkpoint-{state.global_step}"
        save_own_state(point, self.trainer.accelerator.process_index, self._own_state())
        sums = optimizer_sums(self.trainer)
        self.trainer.accelerator.wait_for_everyone()
        if self.metrics is not None:
            self.metrics.sync()
            save_layout(point, Written(self.layout, sums, self.earlier))
            complete(point)
        self.saving_seconds += time.monotonic() - self._saving_since

    def _own_state(self) -> dict[str, Any]:
        own: dict[str, Any] = {"saving_seconds": self.saving_seconds}
        if (engine := _engine(self.trainer)) is not None:
            own["tokens_generated"] = engine.tokens_generated
        for companion in _companions(self.trainer):
            own |= companion.state()
        return own

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, Any] | None = None, **_: Any) -> None:
        if self.metrics is None or logs is None or "train_runtime" in logs:
            return
        values = {ours: logs[theirs] for theirs, ours in _TRL_NAMES.items() if theirs in logs}
        if hasattr(self.trainer, "teacher_model"):
            # The distillation loss is the divergence itself: mean over the batch's completion tokens, in nats.
            values["kl"] = values.get("loss")
        for companion in _companions(self.trainer):
            values |= {name: logs[name] for name in companion.logs if name in logs}
            values |= companion.measured(state.global_step)
        if (engine := _engine(self.trainer)) is not None:
            now = time.monotonic()
            seconds = now - self._last_time
            own_share = (engine.tokens_generated - self._last_tokens) / seconds
            values["tokens_per_s"] = own_share * self.trainer.accelerator.num_processes
            self._last_time, self._last_tokens = now, engine.tokens_generated
            values |= engine.measured | engine.idle_shares(seconds)
            if engine.push_weights is not None:
                values["push_seconds"] = engine.push_weights.seconds
                values["probe_error"] = engine.push_weights.difference
        self.metrics.write(state.global_step, **values)


def _any_rank(trainer: Any, asked: bool) -> bool:
    """Ranks agree to stop: a signal may have reached only one of them."""
    return _over_all_ranks(trainer, int(asked)) > 0


def _over_all_ranks(trainer: Any, count: int) -> int:
    """The sum of a count over all trainer processes. Collective."""
    if trainer.accelerator.num_processes == 1:
        return count
    import torch

    total = trainer.accelerator.reduce(torch.tensor(count, device=trainer.accelerator.device), reduction="sum")
    return int(total.item())


def _save(context: StageContext, trainer: Any, metrics: Metrics | None, callback: _Reporter) -> StageOutcome:
    """The model in the form that is published. Collective: sharded weights are gathered."""
    output = context.fresh_output() if metrics is not None else context.work / "output"
    trainer.accelerator.wait_for_everyone()
    save_whole_model(trainer, output)
    probe = local_probe(trainer.model_wrapped, trainer.accelerator)
    tokens_generated = _over_all_ranks(trainer, getattr(_engine(trainer), "tokens_generated", 0))
    if metrics is None:
        return StageOutcome(output, {})
    metrics.close()
    carry_over(context.inputs["policy"], output)
    probe.save(output)
    context.copy_metrics(output)
    for companion in _companions(trainer):
        companion.save(output)
    result = _result(trainer, metrics, tokens_generated)
    if callback.earlier:
        result["earlier_layouts"] = callback.earlier
    return StageOutcome(output, result | {"saving_seconds": round(callback.saving_seconds, 2)})


def _engine(trainer: Any) -> TrainerEngine | None:
    return getattr(trainer, "engine", None)


def _companions(trainer: Any) -> Sequence[Companion]:
    return getattr(trainer, "companions", ())


def _result(trainer: Any, metrics: Metrics, tokens_generated: int) -> dict[str, Any]:
    rows = read_metrics(metrics.path)
    result: dict[str, Any] = {
        "steps": trainer.state.global_step,
        "seconds": round(metrics.seconds, 2),
        "tokens_seen": int(trainer.state.num_input_tokens_seen),
    }
    if _engine(trainer) is not None:
        result["tokens_generated"] = tokens_generated
    for name in ("reward", "kl"):
        values = [row[name] for row in rows if name in row]
        if values:
            result |= {f"{name}_first": values[0], f"{name}_last": values[-1]}
    for companion in _companions(trainer):
        result |= companion.result()
    return result
