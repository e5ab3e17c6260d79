"""Writing the next batch while the optimizer works, judging groups as they finish: with TRL's trainers, without vLLM.

A stand-in for the server holds a copy of the policy that only a push changes, and writes with transformers.
"""

from __future__ import annotations

import json
import math
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from reasoning_pipeline.errors import Stopped
from reasoning_pipeline.hardware.profile import HardwareProfile
from reasoning_pipeline.run.context import StageContext
from reasoning_pipeline.run.metrics import read_metrics
from reasoning_pipeline.workflows.reasoning.stages import on_policy_distillation, sparse_grpo
from tests.training.test_trl_bridge import context_for, stop_after, weights

pytestmark = pytest.mark.slow

STEPS = 4


class CopiedPolicy:
    """Client, server and weight push in one: `generate` uses the weights of the last `push`."""

    def __init__(self) -> None:
        self.writing = threading.Lock()
        self.version = "none"
        self.pushed: list[str] = []
        self.seconds = self.difference = 0.0
        self.asleep = False
        self._sampler: Any = None

    def push(self, model: Any, version: str) -> None:
        from reasoning_pipeline.rollouts.transformers_sampler import TransformersSampler

        assert not self.writing.locked(), "weights changed while rollouts were being written"
        # Not a deep copy: the `forward` that a trainer puts in is a closure over the trainer's own weights.
        written_by = type(model)(model.config).eval()
        written_by.load_state_dict(model.state_dict())
        self._sampler = TransformersSampler(written_by, pad_id=0, version=version)
        self.version = version
        self.pushed.append(version)

    def rest(self) -> None:
        """Nothing to sleep."""

    def generate(self, requests: Any, decoding: Any, **options: Any) -> Any:
        with self.writing:
            return self._sampler.generate(requests, decoding, **options)


@pytest.fixture
def policy(monkeypatch: pytest.MonkeyPatch) -> CopiedPolicy:
    from reasoning_pipeline.training import generating

    stand_in = CopiedPolicy()
    monkeypatch.setattr(generating, "WeightPush", lambda *_, **__: stand_in)
    return stand_in


def served(stage: Any, folder: Path, models: dict[str, Path], policy: Any, **changes: Any) -> tuple[Any, StageContext]:
    values = {"policy": "p", "seed": 0, "steps": STEPS, "learning_rate": 1e-3, "max_completion_tokens": 12}
    if stage is sparse_grpo:
        values |= {"spends": "first", "problems_per_step": 4, "group_size": 2}
    else:
        values |= {"teacher": "t", "prompts": "first", "rollouts_per_step": 8}
    values |= {"save_every": 2, **changes}
    micro_batch = values.pop("micro_batch", None)
    config = stage.Config(**values)
    context = context_for(config, folder, models, problems=6)
    context.client, context.transfer_folder = policy, folder
    context.profile = HardwareProfile(micro_batch=micro_batch)
    return config, context


@pytest.mark.parametrize("micro_batch", [None, 2])
@pytest.mark.parametrize("stage", [sparse_grpo, on_policy_distillation])
def test_each_batch_is_written_by_the_policy_of_the_step_before(
    stage: Any, micro_batch: int | None, tmp_path: Path, tiny_model: Path, other_model: Path, policy: CopiedPolicy
) -> None:
    models = {"policy": tiny_model, "teacher": other_model}
    config, context = served(stage, tmp_path, models, policy, max_staleness=1, micro_batch=micro_batch)
    stage.run(config, context)
    rows = read_metrics(tmp_path / "metrics.jsonl")
    # Nothing is there before the first step, so its own policy writes its batch.
    assert [row["staleness"] for row in rows] == [0, 1, 1, 1] == [row["staleness_max"] for row in rows]
    assert policy.pushed == [f"test-step:{step}" for step in range(STEPS)], "once a step, however many passes"


def test_without_staleness_every_batch_is_written_by_its_own_policy(
    tmp_path: Path, tiny_model: Path, policy: CopiedPolicy
) -> None:
    config, context = served(sparse_grpo, tmp_path, {"policy": tiny_model}, policy)
    sparse_grpo.run(config, context)
    assert [row["staleness"] for row in read_metrics(tmp_path / "metrics.jsonl")] == [0] * STEPS


def test_stale_rollouts_are_weighted_by_what_the_policy_has_become(
    tmp_path: Path, tiny_model: Path, policy: CopiedPolicy, monkeypatch: pytest.MonkeyPatch
) -> None:
    from reasoning_pipeline.workflows.reasoning import grpo
    from reasoning_pipeline.workflows.reasoning.reward import VerifiedReward

    class FirstTokenIsEven(VerifiedReward):
        """A reward that a random model meets half of the time, so that there is something to learn."""

        def __call__(self, *, completion_ids: list[list[int]], **_: Any) -> list[float | None]:
            return [float(ids[0] % 2 == 0) for ids in completion_ids]

    monkeypatch.setattr(grpo, "VerifiedReward", FirstTokenIsEven)
    differences, ratios, sizes, truncated = {}, {}, {}, {}
    for max_staleness in (0, 1):
        folder = tmp_path / str(max_staleness)
        config, context = served(
            sparse_grpo, folder, {"policy": tiny_model}, policy, max_staleness=max_staleness, learning_rate=1e-2
        )
        sparse_grpo.run(config, context)
        rows = read_metrics(folder / "metrics.jsonl")
        differences[max_staleness] = [row["sampler_mismatch"] for row in rows]
        ratios[max_staleness] = [row["importance_ratio"] for row in rows]
        sizes[max_staleness] = [row["importance_log_ratio"] for row in rows]
        truncated[max_staleness] = [row["importance_truncated"] for row in rows]
    assert max(differences[0]) < 1e-4, "on-policy, the ratio is one"
    assert differences[1][0] < 1e-4
    assert min(differences[1][1:]) > 0.1, "another policy wrote these, and the correction sees by how much"
    assert ratios[0] == pytest.approx([1] * STEPS, abs=1e-4)
    assert max(abs(ratio - 1) for ratio in ratios[1][1:]) > 1e-3, "a mean: of one step it may be one by chance"
    assert max(sizes[0]) < 1e-5 and truncated[0] == [0] * STEPS
    for size, largest, share in zip(sizes[1][1:], differences[1][1:], truncated[1][1:], strict=True):
        assert 0.01 < size < largest and (share == 0 or largest > math.log(2)), "cut at 2"


def test_a_resumed_step_trains_on_the_rollouts_that_were_being_written(
    tmp_path: Path, tiny_model: Path, other_model: Path, policy: CopiedPolicy
) -> None:
    import torch

    models = {"policy": tiny_model, "teacher": other_model}
    config, context = served(on_policy_distillation, tmp_path / "whole", models, policy, max_staleness=1)
    whole = on_policy_distillation.run(config, context)
    config, context = served(on_policy_distillation, tmp_path / "parts", models, policy, max_staleness=1)
    stop_after(context, calls=2)
    with pytest.raises(Stopped):
        on_policy_distillation.run(config, context)
    config, context = served(on_policy_distillation, tmp_path / "parts", models, policy, max_staleness=1)
    resumed = on_policy_distillation.run(config, context)
    for name, tensor in weights(whole.folder).items():
        torch.testing.assert_close(weights(resumed.folder)[name], tensor, rtol=0, atol=0)
    rows = read_metrics(tmp_path / "parts" / "metrics.jsonl")
    assert [row["staleness"] for row in rows] == [0, 1, 1, 1], "also the first one after the interruption"


@pytest.mark.parametrize("max_staleness", [0, 1])
def test_groups_are_judged_as_they_finish_with_the_same_verdicts(
    max_staleness: int, tmp_path: Path, tiny_model: Path, policy: CopiedPolicy, monkeypatch: pytest.MonkeyPatch
) -> None:
    from reasoning_pipeline.workflows.reasoning import grpo
    from reasoning_pipeline.workflows.reasoning.reward import VerifiedReward

    rewards: list[VerifiedReward] = []

    def keep(**options: Any) -> VerifiedReward:
        rewards.append(VerifiedReward(**options))
        return rewards[-1]

    monkeypatch.setattr(grpo, "VerifiedReward", keep)
    results = []
    for ahead in (True, False):
        if not ahead:
            monkeypatch.setattr(VerifiedReward, "begin", lambda *_: None)
        folder = tmp_path / str(ahead)
        config, context = served(sparse_grpo, folder, {"policy": tiny_model}, policy, max_staleness=max_staleness)
        sparse_grpo.run(config, context)
        kept = ("reward", "groups_mixed", "verdicts_disagree", "reward_lenient")
        results.append([{name: row.get(name) for name in kept} for row in read_metrics(folder / "metrics.jsonl")])
    assert results[0] == results[1]
    assert [reward.judged_ahead for reward in rewards] == [STEPS * 8, 0]
    assert rewards[0].statuses == rewards[1].statuses and sum(rewards[0].statuses.values()) == STEPS * 8


@pytest.mark.parametrize("processes", [1, 2])
@pytest.mark.parametrize("passes", [1, 2])
def test_prompts_written_ahead_are_those_that_each_process_will_ask_for(processes: int, passes: int) -> None:
    """Held against TRL's sampler behind accelerate's division over processes."""
    from accelerate.data_loader import BatchSamplerShard
    from torch.utils.data import BatchSampler
    from trl import GRPOTrainer

    from reasoning_pipeline.training.batches import PromptsByStep

    prompts, copies, rollouts_per_step = [[i] for i in range(12)], 2, 8
    trainer: Any = SimpleNamespace(
        train_dataset=prompts,
        num_generations=copies,
        num_iterations=1,
        shuffle_dataset=False,
        args=SimpleNamespace(generation_batch_size=rollouts_per_step, steps_per_generation=passes, seed=0),
    )
    sampler = GRPOTrainer._get_train_sampler(trainer)
    for process in range(processes):
        batches = BatchSampler(sampler, rollouts_per_step // processes, drop_last=True)
        seen = [[prompts[i] for i in batch] for batch in BatchSamplerShard(batches, processes, process)]
        ours = PromptsByStep(prompts, copies, rollouts_per_step, process, processes)
        assert seen[::passes] == [ours(step) for step in range(3)], json.dumps(seen)
        assert ours(3) is None
