"""A warmup that ends when C2 holds: now and then the student writes rollouts, and its distance to the teacher is taken.

The questions are those of the cached rollouts, in a fixed order; seeds follow from the run's seed and the optimizer
step. So a resumed step looks at the same rollouts again, and what was found before is in the resume point.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from reasoning_pipeline.errors import PipelineError
from reasoning_pipeline.models.loading import pad_id
from reasoning_pipeline.records import Decoding
from reasoning_pipeline.rollouts.clients.completions import GenerationRequest
from reasoning_pipeline.rollouts.transformers_sampler import TransformersSampler
from reasoning_pipeline.rollouts.weights.push import WeightPush
from reasoning_pipeline.training.batches import read_rollouts
from reasoning_pipeline.training.companions import Companion
from reasoning_pipeline.training.distance import per_token, rollout_distances
from reasoning_pipeline.training.processes import from_main

if TYPE_CHECKING:
    from reasoning_pipeline.run.context import StageContext
    from reasoning_pipeline.workflows.reasoning.fields import Until


class DistanceWatch(Companion):
    """Looks at the student after some optimizer steps; all processes look together."""

    def __init__(self, until: Until, context: StageContext, trainer: Any, *, temperature: float) -> None:
        if getattr(trainer, "teacher_model", None) is None:
            raise PipelineError(
                "`until` compares whole distributions, and this profile keeps the teacher's weights out of the trainer",
                remedy="set `teacher: trainer` in the hardware profile, or leave `until` (gates: extend) away",
            )
        self.until, self.seed, self.temperature = until, context.seed, temperature
        self.trainer, self.label = trainer, context.label
        self.checks: list[dict[str, float]] = []
        """What was found: {"step", "reverse_kl", "top_k_overlap"}; kept in resume points and in the record."""
        rows = read_rollouts(context.inputs["rollouts"])
        prompts = list({tuple(row["prompt_ids"]): None for row in rows})
        self._prompts = [list(prompt) for prompt in prompts[: until.rollouts]]
        self._longest = until.max_completion_tokens or max(len(row["completion_ids"]) for row in rows)
        self._stop_ids = context.renderer("policy").stop_ids
        self._sampler: Any = context.client
        self._push: WeightPush | None = None
        if context.client is not None:
            self._push = WeightPush(
                context.client,
                trainer.accelerator,
                context.transfer_folder,
                context.profile.precision,
                transport=context.profile.server.transport,
            )
        else:
            self._sampler = TransformersSampler(trainer.model, pad_id=pad_id(context.inputs["policy"]))

    def look(self, step: int) -> bool:
        """Measure, where it is time to; True as soon as the student is near enough."""
        if step < self.until.after or step == 0 or (step - self.until.after) % self.until.check_every:
            return False
        accelerator = self.trainer.accelerator
        distances = rollout_distances(
            accelerator.unwrap_model(self.trainer.model),
            accelerator.unwrap_model(self.trainer.teacher_model),
            self._rollouts(step),
            top_k=self.until.top_k,
            temperature=self.temperature,
        )
        check = {
            "step": step,
            "reverse_kl": per_token(distances, "reverse_kl") or 0.0,
            "top_k_overlap": per_token(distances, "overlap") or 0.0,
        }
        self.checks.append(from_main(accelerator, check))  # one answer, should processes differ in the last bit
        return self.near

    @property
    def near(self) -> bool:
        """Whether the last look found the student near enough."""
        if not self.checks:
            return False
        last, until = self.checks[-1], self.until
        close = until.reverse_kl is None or last["reverse_kl"] <= until.reverse_kl
        return close and (until.top_k_overlap is None or last["top_k_overlap"] >= until.top_k_overlap)

    def measured(self, step: int) -> dict[str, float]:
        last = self.checks[-1] if self.checks else {}
        return {name: value for name, value in last.items() if name != "step"} if last.get("step") == step else {}

    def state(self) -> dict[str, Any]:
        return {"checks": self.checks}

    def restore(self, state: dict[str, Any]) -> None:
        self.checks = state.get("checks", [])

    def result(self) -> dict[str, Any]:
        """At which step it ended, whether because the student was near, and all that was seen.

        Example: {"until": {"held": True, "at_step": 80, "checks": [{"step": 60, "reverse_kl": 0.12, …}, …]}}
        """
        return {"until": {"held": self.near, "at_step": self.trainer.state.global_step, "checks": self.checks}}

    def _rollouts(self, step: int) -> list[tuple[list[int], list[int]]]:
        """Written once, by the main process, and given to all: sharded models need every process in each pass."""
        accelerator = self.trainer.accelerator
        if self._push is not None:
            self._push.push(self.trainer.model_wrapped, f"{self.label}:until-{step}")
        written: list[list[int]] = []
        if accelerator.is_main_process:
            seed = (self.seed * 1_000_003 + step) * 100_003
            requests = [GenerationRequest(prompt_ids=ids, seed=seed + i) for i, ids in enumerate(self._prompts)]
            decoding = Decoding(temperature=self.temperature, max_tokens=self._longest, seed=self.seed)
            groups = self._sampler.generate(requests, decoding, stop_ids=self._stop_ids)
            written = [group[0].token_ids for group in groups]
        return list(zip(self._prompts, from_main(accelerator, written), strict=True))
