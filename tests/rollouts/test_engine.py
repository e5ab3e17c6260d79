"""How TRL's calls become requests, with a scripted sampler in the server's place."""

from __future__ import annotations

import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from reasoning_pipeline.errors import PipelineError, ServerLost, StaleWeights
from reasoning_pipeline.records import Decoding
from reasoning_pipeline.rollouts.clients.completions import Completion, GenerationRequest
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


class Server:
    """Sampler and push in one; writes under the version that was pushed last, or under one that it is told to claim."""

    def __init__(self, claims: str | None = None) -> None:
        self.version, self.claims = "none", claims
        self.seconds = self.difference = 0.0
        self.asleep = False

    def push(self, model: Any, version: str) -> None:
        self.version = version

    def rest(self) -> None:
        self.rested = True

    def generate(self, requests: Any, decoding: Decoding, *, on_result: Any, **_: Any) -> list[list[Completion]]:
        version = self.claims or self.version
        written = Completion(token_ids=[7, 2], logprobs=[-0.5, -0.1], finish="stop", policy_version=version)
        for index, request in enumerate(requests):
            on_result(index, [written] * request.n)
        return [[written] * request.n for request in requests]


def served_engine(server: Any, *, max_staleness: int, prompts_at: Any = lambda step: [[step]]) -> TrainerEngine:
    engine = TrainerEngine(
        server,
        server,
        decoding=Decoding(max_tokens=4),
        stop_ids=[2],
        label="test",
        max_staleness=max_staleness,
        prompts_at=prompts_at,
    )
    accelerator = SimpleNamespace(process_index=0, wait_for_everyone=lambda: None)
    engine.trainer = SimpleNamespace(accelerator=accelerator, state=SimpleNamespace(global_step=0), model_wrapped=None)
    return engine


def take_step(engine: TrainerEngine, step: int, prompts: list[list[int]]) -> None:
    engine.trainer.state.global_step = step
    engine.sync_weights()
    engine.generate(prompts, None, 1, None)


@pytest.mark.parametrize("max_staleness", [0, 1])
def test_the_age_of_every_batch_is_measured(max_staleness: int) -> None:
    engine = served_engine(Server(), max_staleness=max_staleness)
    ages = []
    for step in range(3):
        take_step(engine, step, [[step]])
        ages.append(engine.measured["staleness_max"])
    assert ages == ([0, 0, 0] if max_staleness == 0 else [0, 1, 1])


@pytest.mark.parametrize(
    ("claims", "max_staleness"),
    [("test:3", 0), ("test:5", 0), ("test:2", 1), ("other:4", 1), ("default", 1), ("test:-1", 1)],
)
def test_a_rollout_of_a_policy_that_is_not_allowed_stops_the_step(claims: str, max_staleness: int) -> None:
    engine = served_engine(Server(claims), max_staleness=max_staleness)
    with pytest.raises(StaleWeights, match="optimizer step 4"):
        take_step(engine, 4, [[4]])


def test_prompts_other_than_those_written_ahead_are_an_error() -> None:
    engine = served_engine(Server(), max_staleness=1)
    take_step(engine, 0, [[0]])
    with pytest.raises(PipelineError, match="other prompts at optimizer step 1"):
        take_step(engine, 1, [[9]])


def test_what_went_wrong_while_writing_ahead_is_told_at_the_next_step() -> None:
    class Dies(Server):
        def generate(self, requests: Any, decoding: Decoding, **options: Any) -> Any:
            if requests[0].prompt_ids == [1]:
                raise ServerLost("gone")
            return super().generate(requests, decoding, **options)

    engine = served_engine(Dies(), max_staleness=1)
    take_step(engine, 0, [[0]])
    with pytest.raises(ServerLost, match="gone"):
        take_step(engine, 1, [[1]])


def test_weights_are_not_pushed_while_the_next_batch_is_written() -> None:
    class Slow(Server):
        writing = False

        def generate(self, requests: Any, decoding: Decoding, **options: Any) -> Any:
            self.writing = True
            time.sleep(0.2)
            self.writing = False
            return super().generate(requests, decoding, **options)

        def push(self, model: Any, version: str) -> None:
            assert not self.writing
            super().push(model, version)

    engine = served_engine(Slow(), max_staleness=1)
    for step in range(3):
        take_step(engine, step, [[step]])
    assert engine.measured["wait_seconds"] > 0.1, "and the time training stood still is counted"


def test_who_stands_still_is_a_share_of_the_step() -> None:
    engine = served_engine(Server(), max_staleness=1)
    assert engine.idle_shares(10.0) == {}, "before the first batch nothing is known"
    engine.measured = {"generation_seconds": 6.0, "wait_seconds": 1.0}  # of 10 s: it wrote for 6, was waited for in 1
    assert engine.idle_shares(10.0) == {"trainer_idle": pytest.approx(0.1), "server_idle": pytest.approx(0.4)}
    engine.push_weights = None
    assert engine.idle_shares(10.0) == {}, "trainer and sampler are one"


def test_lengths_of_one_epoch_are_what_the_next_expects() -> None:
    class Notes(Server):
        def __init__(self) -> None:
            super().__init__()
            self.expected: list[float | None] = []

        def generate(self, requests: Any, decoding: Decoding, **options: Any) -> Any:
            self.expected += [request.expected_tokens for request in requests]
            return super().generate(requests, decoding, **options)

    server = Notes()
    engine = served_engine(server, max_staleness=0)
    take_step(engine, 0, [[1], [2]])
    take_step(engine, 1, [[2], [3]])
    assert server.expected == [None, None, 2, None], "two tokens were written for each"


def test_the_batch_in_flight_survives_in_a_resume_point(tmp_path: Path) -> None:
    engine = served_engine(Server(), max_staleness=1)
    take_step(engine, 0, [[0]])
    engine.save_ahead(tmp_path)
    resumed = served_engine(Server(), max_staleness=1)
    resumed.load_ahead(tmp_path)
    take_step(resumed, 1, [[1]])
    assert resumed.measured["staleness"] == 1, "written by version 0, before the interruption"
    without = served_engine(Server(), max_staleness=0)
    without.load_ahead(tmp_path)
    take_step(without, 1, [[1]])
    assert without.measured["staleness"] == 0
