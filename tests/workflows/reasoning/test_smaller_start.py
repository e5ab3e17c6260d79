"""A student is cut from a model and started on worked solutions: what stays, what is learned, what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from reasoning_pipeline.errors import PipelineError
from reasoning_pipeline.records import Problem
from reasoning_pipeline.workflows.reasoning.stages import cut_layers, supervised_start
from reasoning_pipeline.workflows.reasoning.stages.cut_layers import around, spread
from tests.conftest import make_tiny_model
from tests.training.test_trl_bridge import context_for

SHORT = {"rows_per_step": 2, "steps": 2, "learning_rate": 1e-3, "save_every": 1, "seed": 1}


def test_layers_that_stay_are_spread_with_both_ends():
    assert spread(30, 15)[:3] == [0, 2, 4] and spread(30, 15)[-1] == 29
    assert spread(4, 2) == [0, 3] and spread(3, 1) == [0]
    for layers in range(2, 40):
        for keep in range(1, layers):
            kept = spread(layers, keep)
            assert len(set(kept)) == keep and kept == sorted(kept) and kept[-1] < layers


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_model(tmp_path_factory.mktemp("whole"), seed=1, layers=4)


def cut(whole: Path, work: Path, layers: int, **fields: Any) -> Path:
    config = cut_layers.Config(policy="p", layers=layers, seed=1, **fields)
    return cut_layers.run(config, context_for(config, work, {"policy": whole}, problems=0)).folder


def test_layers_that_follow_one_another_are_left_out():
    assert around(30, 20, 9) == [*range(9), *range(19, 30)]
    assert around(4, 2, 0) == [2, 3] and around(4, 2, 2) == [0, 1]


@pytest.mark.parametrize("cut_from", [3, 9])
def test_more_layers_than_follow_cannot_be_left_out(cut_from: int, whole: Path, tmp_path: Path):
    with pytest.raises(PipelineError, match=f"(?s)has 4 layers, 2 are to go from layer {cut_from} on.*`cut_from` to 2"):
        cut(whole, tmp_path, layers=2, cut_from=cut_from)


@pytest.mark.parametrize(("cut_from", "stayed"), [(None, 3), (1, 3), (2, 1)])
def test_what_stays_is_byte_for_byte_what_it_was(cut_from: int | None, stayed: int, whole: Path, tmp_path: Path):
    import torch

    from reasoning_pipeline.models.loading import load_model

    folder = cut(whole, tmp_path, layers=2, cut_from=cut_from)
    before, after = load_model(whole).state_dict(), load_model(folder).state_dict()
    assert json.loads((folder / "config.json").read_text())["num_hidden_layers"] == 2
    for name, tensor in after.items():
        old = name.replace("layers.1.", f"layers.{stayed}.")
        assert torch.equal(tensor, before[old]), name
    assert (folder / "tokenizer.json").read_bytes() == (whole / "tokenizer.json").read_bytes()
    assert (folder / "probe.json").is_file()


def test_a_cut_model_writes_with_its_cache_what_it_writes_without(whole: Path, tmp_path: Path):
    import torch

    from reasoning_pipeline.models.loading import load_model

    model: Any = load_model(cut(whole, tmp_path, layers=2))
    ids = torch.tensor([[5, 6, 7]])
    with_cache = model.generate(ids, max_new_tokens=6, do_sample=False, use_cache=True)
    assert torch.equal(with_cache, model.generate(ids, max_new_tokens=6, do_sample=False, use_cache=False))


def test_as_many_layers_as_there_are_is_no_cut(whole: Path, tmp_path: Path):
    with pytest.raises(PipelineError, match="has 4 layers, 4 are to stay"):
        cut(whole, tmp_path, layers=4)


def solved(*solutions: Any) -> list[Problem]:
    return [
        Problem(id=f"p{number}", question=f"{number}+1", answer=str(number + 1), meta={"solution": solution})
        for number, solution in enumerate(solutions)
    ]


def started(whole: Path, work: Path, problems: list[Problem], **fields: Any) -> Any:
    config = supervised_start.Config(policy="p", spends="solved", **SHORT | fields)
    context = context_for(config, work, {"policy": whole}, problems=0)
    context.problems = problems
    return supervised_start.make_trainer(config, context)


def test_a_solution_is_learned_with_the_end_behind_it_and_the_question_is_not(whole: Path, tmp_path: Path):
    trainer = started(whole, tmp_path, solved("1;\\boxed{1}", "2;\\boxed{2}"))
    tokenizer = trainer.processing_class
    row = next(row for row in trainer.train_dataset if "0+1" in tokenizer.decode(row["input_ids"]).replace(" ", ""))
    learned = [label for label in row["labels"] if label != -100]
    assert tokenizer.decode(learned) == "1;\\boxed{1}" + tokenizer.decode([2]) and learned[-1] == 2
    assert row["input_ids"][-len(learned) :] == learned
    assert len(trainer.train_dataset) == 4  # two steps of two


@pytest.mark.parametrize("solution", [None, "", "  ", 7])
def test_a_problem_without_a_solution_is_named(solution: Any, whole: Path, tmp_path: Path):
    with pytest.raises(PipelineError, match=r"p1: no text in the column 'solution'"):
        started(whole, tmp_path, solved("1;\\boxed{1}", solution))


def test_a_solution_that_would_be_cut_is_refused(whole: Path, tmp_path: Path):
    with pytest.raises(PipelineError, match="p0: the solution has 12 tokens, max_completion_tokens is 5"):
        started(whole, tmp_path, solved("1;\\boxed{1}"), max_completion_tokens=5)


@pytest.mark.slow
def test_the_loss_falls(whole: Path, tmp_path: Path):
    config = supervised_start.Config(policy="p", spends="solved", **SHORT | {"steps": 20})
    context = context_for(config, tmp_path, {"policy": whole}, problems=0)
    context.problems = solved("1;\\boxed{1}", "2;\\boxed{2}")
    outcome = supervised_start.run(config, context)
    lengths = [len(row["input_ids"]) for row in started(whole, tmp_path / "again", context.problems).train_dataset]
    assert outcome.result["tokens_seen"] == 20 * sum(lengths) / 2  # two steps' rows there
    rows = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert rows[-1]["loss"] < 0.5 * rows[0]["loss"]
