"""What TRL's trainers generate with, in the place where they expect their own vLLM object.

TRL calls two methods: `sync_weights()` when the optimizer has stepped, `generate(...)` for a batch of prompts. Two
engines: one pushes to a rollout server and asks it; the other runs transformers' generate inside the trainer.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from reasoning_pipeline.records import Decoding
from reasoning_pipeline.rollouts.client import GenerationRequest, Sampler

if TYPE_CHECKING:
    from reasoning_pipeline.rollouts.weight_sync import WeightPush


class TrainerEngine:
    """Adapts a Sampler to TRL. One in each trainer process; every process asks for its own share of the batch.

    Args:
        push: None where the sampler works on the trainer's own weights.
        label: Names this step's policies: versions are `label:OPTIMIZER_STEP`.
    """

    def __init__(
        self,
        sampler: Sampler,
        push: WeightPush | None,
        *,
        decoding: Decoding,
        stop_ids: Sequence[int],
        label: str,
    ) -> None:
        self.sampler, self.push_weights = sampler, push
        self.decoding, self.stop_ids, self.label = decoding, stop_ids, label
        self.trainer: Any = None
        self.tokens_generated = 0

    def sync_weights(self) -> None:
        """Called by TRL after each optimizer step and before the first batch (so after a resume too)."""
        if self.push_weights is not None:
            self.push_weights.push(self.trainer.model_wrapped, f"{self.label}:{self.trainer.state.global_step}")

    def generate(
        self, prompts: list[list[int]], images: Any, num_generations: int, profiler: Any
    ) -> tuple[list[list[int]], list[list[int]], list[list[list[float]]], None]:
        """Completions for this process's prompts, which TRL has repeated `num_generations` times already.

        Seeds follow from the run's seed, the optimizer step, the process and the position: a resumed step draws the
        same rollouts again.

        Returns:
            prompt ids, completion ids, log-probabilities [B, T, 1], and nothing.
        """
        del images, num_generations, profiler
        accelerator = self.trainer.accelerator
        step = self.trainer.state.global_step
        requests = [
            GenerationRequest(prompt_ids=ids, n=count, seed=_seed(self.decoding.seed, step, accelerator, start))
            for start, count, ids in _runs(prompts)
        ]
        groups = self.sampler.generate(requests, self.decoding, stop_ids=self.stop_ids)
        completions = [completion for group in groups for completion in group]
        self.tokens_generated += sum(len(completion.token_ids) for completion in completions)
        logprobs = [[[value] for value in completion.logprobs] for completion in completions]
        return prompts, [completion.token_ids for completion in completions], logprobs, None


def _runs(prompts: list[list[int]]) -> list[tuple[int, int, list[int]]]:
    """(start, length, prompt) of each run of equal neighbours: one request for a whole group."""
    runs: list[tuple[int, int, list[int]]] = []
    for position, ids in enumerate(prompts):
        if runs and runs[-1][2] == ids:
            start, count, _ = runs[-1]
            runs[-1] = (start, count + 1, ids)
        else:
            runs.append((position, 1, ids))
    return runs


def _seed(seed: int, step: int, accelerator: Any, position: int) -> int:
    # `position` counts within this process's share, so another number of processes draws other rollouts.
    return ((seed * 1_000_003 + step) * 1_009 + accelerator.process_index) * 100_003 + position
