"""What TRL's trainers generate with, in the place where they expect their own vLLM object.

TRL calls two methods: `sync_weights()` when the optimizer has stepped, `generate(...)` for a batch of prompts. Behind
them is a rollout server, which gets the weights pushed, or transformers' generate inside the trainer.

With `max_staleness` 1 the server writes batch t + 1 from the weights of version t while the optimizer works on batch t
(ahead.py). Every completion says which version wrote it; one outside the allowed staleness stops the step.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reasoning_pipeline.errors import PipelineError, StaleWeights
from reasoning_pipeline.records import Decoding
from reasoning_pipeline.rollouts.ahead import InBackground, WrittenBatch
from reasoning_pipeline.rollouts.clients.completions import Completion, GenerationRequest, Sampler

if TYPE_CHECKING:
    from reasoning_pipeline.rollouts.weights.push import WeightPush

GroupListener = Callable[[list[int], list[Completion]], None]
"""Called with (prompt ids, completions) as soon as a group is finished, from whichever thread reads the answer."""

SAVE_WAIT_S = 30.0
"""How long a resume point waits for the batch that is being written ahead; without it the point is saved as it is."""


class TrainerEngine:
    """Adapts a Sampler to TRL. One in each trainer process; every process asks for its own share of the batch.

    Args:
        push: None where the sampler works on the trainer's own weights; nothing is then written ahead.
        label: Names this step's policies: versions are `label:OPTIMIZER_STEP`.
        max_staleness: 0, or 1 to write each batch while the one before it is trained on.
        prompts_at: The prompts TRL will ask for in this process at an optimizer step; None after the last.
        on_group: Told of each group as it finishes, so that it is judged while others are still being written.
    """

    def __init__(
        self,
        sampler: Sampler,
        push: WeightPush | None,
        *,
        decoding: Decoding,
        stop_ids: Sequence[int],
        label: str,
        max_staleness: int = 0,
        prompts_at: Callable[[int], list[list[int]] | None] | None = None,
        on_group: GroupListener | None = None,
    ) -> None:
        self.sampler, self.push_weights = sampler, push
        self.decoding, self.stop_ids, self.label = decoding, stop_ids, label
        self.max_staleness, self.prompts_at, self.on_group = max_staleness, prompts_at, on_group
        self.trainer: Any = None
        self.tokens_generated = 0
        self.measured: dict[str, float] = {}
        """Of the last batch: its staleness in optimizer steps, seconds it took to write, seconds training waited."""
        self._ahead: InBackground | None = None
        self._lengths: dict[tuple[int, ...], float] = {}
        """Prompt -> mean tokens of what was last written for it: what to expect of it in the next epoch."""

    def sync_weights(self) -> None:
        """Called by TRL after each optimizer step and before the first batch (so after a resume too).

        Weights never change while rollouts are being written: the batch in flight ends first, on every process.
        """
        if self.push_weights is None:
            return
        if self._ahead is not None:
            self._ahead.wait()
        if self.max_staleness:
            self.trainer.accelerator.wait_for_everyone()
        self.push_weights.push(self.trainer.model_wrapped, f"{self.label}:{self.trainer.state.global_step}")

    def generate(
        self, prompts: list[list[int]], images: Any, num_generations: int, profiler: Any
    ) -> tuple[list[list[int]], list[list[int]], list[list[list[float]]], None]:
        """Completions for this process's prompts, which TRL has repeated `num_generations` times already.

        Seeds follow from the run's seed, the optimizer step and the position: a resumed step draws the
        same rollouts again.

        Returns:
            prompt ids, completion ids, log-probabilities [B, T, 1], and nothing.

        Raises:
            StaleWeights: A completion was written by a policy version that is not allowed at this step.
        """
        del images, num_generations, profiler
        step = self.trainer.state.global_step
        if self._ahead is not None:
            batch, self._ahead = self._taken(self._ahead, step, prompts), None
        else:
            if self.push_weights is not None and self.push_weights.asleep:
                self.sync_weights()  # asked for a second batch at one step, when sleep has lost the weights
            batch = self._write(step, prompts)
            self.measured = {"generation_seconds": batch.seconds, "wait_seconds": batch.seconds}
        self._measure_staleness(batch, step)
        self._write_next_ahead(step + 1)
        if self._ahead is None and self.push_weights is not None:
            self.push_weights.rest()
        self.tokens_generated += sum(len(completion.token_ids) for completion in batch.completions)
        logprobs = [[[value] for value in completion.logprobs] for completion in batch.completions]
        return prompts, [completion.token_ids for completion in batch.completions], logprobs, None

    def idle_shares(self, seconds: float) -> dict[str, float]:
        """Of an optimizer step of so many seconds: the trainer stands still while it waits for rollouts, the server
        while it writes none. Empty where both are one."""
        if self.push_weights is None or not self.measured or seconds <= 0:
            return {}
        trainer, server = self.measured["wait_seconds"] / seconds, 1 - self.measured["generation_seconds"] / seconds
        return {"trainer_idle": min(1.0, trainer), "server_idle": max(0.0, server)}

    def save_ahead(self, folder: Path) -> None:
        """Keep the batch in flight with a resume point, so that a resumed step trains on the very same rollouts."""
        if self._ahead is not None and (batch := self._ahead.result_within(SAVE_WAIT_S)) is not None:
            batch.save(folder, self.trainer.accelerator.process_index)

    def load_ahead(self, folder: Path) -> None:
        """Take up what `save_ahead` kept, if anything. Judging begins again: verdicts are not kept."""
        batch = WrittenBatch.load(folder, self.trainer.accelerator.process_index)
        if batch is None or not self.max_staleness or self.push_weights is None:
            return
        self._ahead = InBackground.done(batch)
        if self.on_group is not None:
            for start, count, ids in _runs(batch.prompts):
                self.on_group(ids, batch.completions[start : start + count])

    def _write(self, step: int, prompts: list[list[int]]) -> WrittenBatch:
        started = time.monotonic()
        # Shares follow each other in the global batch, so another number of processes draws the same rollouts (as long
        # as no group is cut in two).
        first = self.trainer.accelerator.process_index * len(prompts)
        requests = [
            GenerationRequest(
                prompt_ids=ids,
                n=count,
                seed=_seed(self.decoding.seed, step, first + start),
                expected_tokens=self._lengths.get(tuple(ids)),
            )
            for start, count, ids in _runs(prompts)
        ]

        def finished(index: int, group: list[Completion]) -> None:
            if self.on_group is not None:
                self.on_group(requests[index].prompt_ids, group)

        groups = self.sampler.generate(requests, self.decoding, stop_ids=self.stop_ids, on_result=finished)
        for request, group in zip(requests, groups, strict=True):
            self._lengths[tuple(request.prompt_ids)] = sum(len(c.token_ids) for c in group) / len(group)
        completions = [completion for group in groups for completion in group]
        return WrittenBatch(step=step, prompts=prompts, completions=completions, seconds=time.monotonic() - started)

    def _write_next_ahead(self, step: int) -> None:
        if not self.max_staleness or self.push_weights is None or self.prompts_at is None:
            return
        prompts = self.prompts_at(step)
        if prompts is not None:
            self._ahead = InBackground(lambda: self._write(step, prompts))

    def _taken(self, ahead: InBackground, step: int, prompts: list[list[int]]) -> WrittenBatch:
        batch = ahead.wait()
        self.measured = {"generation_seconds": batch.seconds, "wait_seconds": ahead.waited_s}
        if batch.step != step or batch.prompts != prompts:
            raise PipelineError(
                f"the trainer asked for other prompts at optimizer step {step} than were written ahead for it",
                remedy="set max_staleness: 0 and report the versions of TRL and accelerate: their order of data moved",
            )
        return batch

    def _measure_staleness(self, batch: WrittenBatch, step: int) -> None:
        if self.push_weights is None:  # the trainer's own weights wrote it
            ages = [0]
        else:
            ages = [self._age(completion.policy_version, step) for completion in batch.completions]
        self.measured |= {"staleness": sum(ages) / max(len(ages), 1), "staleness_max": max(ages, default=0)}

    def _age(self, version: str, step: int) -> int:
        """Optimizer steps between the policy that wrote and the one that learns from it."""
        label, _, number = version.rpartition(":")
        age = step - int(number) if label == self.label and number.isdigit() else -1
        if not 0 <= age <= self.max_staleness:
            raise StaleWeights(
                f"a rollout for optimizer step {step} was written by {version}; allowed are {self.label}:"
                f"{max(0, step - self.max_staleness)} to {self.label}:{step}",
                remedy="another program pushes weights to this server; give each run its own",
            )
        return age


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


def _seed(seed: int, step: int, position: int) -> int:
    """`position` counts over the whole batch of an optimizer step."""
    return (seed * 1_000_003 + step) * 1_009 * 100_003 + position
