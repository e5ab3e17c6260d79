"""How TRL's calls become requests, with a scripted sampler in the server's place."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from reasoning_pipeline.records import Decoding
from reasoning_pipeline.rollouts.client import Completion, GenerationRequest
from reasoning_pipeline.rollouts.engine import TrainerEngine


class Recorder:
    """Answers each request with its own seed, so that a test can see what was asked."""

    def __init__(self) -> None:
        self.requests: list[GenerationRequest] = []

    def generate(self, requests: Any, decoding: Decoding, **_: Any) -> list[list[Completion]]:
        self.requests = list(requests)
        return [
            [Completion(token_ids=[7, 2], logprobs=[-0.5, -0.1], finish="stop", policy_version="v")] * request.n
            for request in requests
        ]


def engine_at(step: int, *, process: int = 0, seed: int = 0) -> tuple[TrainerEngine, Recorder]:
    recorder = Recorder()
    engine = TrainerEngine(recorder, None, decoding=Decoding(max_tokens=4, seed=seed), stop_ids=[2], label="test")
    engine.trainer = SimpleNamespace(
        accelerator=SimpleNamespace(process_index=process), state=SimpleNamespace(global_step=step)
    )
    return engine, recorder


def test_a_group_of_equal_prompts_is_one_request_and_order_is_kept() -> None:
    engine, recorder = engine_at(3)
    prompts, completions, logprobs, _ = engine.generate([[1, 5]] * 4 + [[1, 6]] * 4, None, 4, None)
    assert [(r.prompt_ids, r.n) for r in recorder.requests] == [([1, 5], 4), ([1, 6], 4)]
    assert len(prompts) == len(completions) == 8
    assert logprobs[0] == [[-0.5], [-0.1]], "one value a token, in TRL's top-k layout"
    assert engine.tokens_generated == 16


def test_seeds_depend_on_step_process_and_position_and_on_nothing_else() -> None:
    def seeds(**where: int) -> list[int]:
        engine, recorder = engine_at(**where)
        engine.generate([[1, 5], [1, 6]], None, 1, None)
        return [request.seed for request in recorder.requests]

    assert seeds(step=3) == seeds(step=3), "a resumed step draws the same rollouts"
    all_seeds = seeds(step=3) + seeds(step=4) + seeds(step=3, process=1) + seeds(step=3, seed=1)
    assert len(set(all_seeds)) == 8
