"""A teacher on a real server: what it says of a position, in which form, and what a trainer learns from it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from reasoning_pipeline.errors import PipelineError, ServerError, StaleWeights
from reasoning_pipeline.hardware.profile import HardwareProfile
from reasoning_pipeline.records import Decoding
from reasoning_pipeline.rollouts.clients.completions import GenerationRequest
from reasoning_pipeline.rollouts.clients.scoring import TeacherScores, score_completions
from reasoning_pipeline.rollouts.servers.process import RolloutServer
from reasoning_pipeline.rollouts.servers.teacher import scoring_profile
from reasoning_pipeline.rollouts.weights.push import load_folder
from reasoning_pipeline.run.metrics import read_metrics

VOCABULARY = 112
SEQUENCES = [([1, 20 + i, 15, 24, 3], [30 + i, 9, 41, 2][: 4 - i % 2]) for i in range(5)]


def scored(server: RolloutServer, top_k: int) -> list[TeacherScores]:
    found = {index: scores for index, scores, _ in score_completions(server.client, SEQUENCES, top_k)}
    return [found[index] for index in range(len(SEQUENCES))]


@pytest.mark.slow
@pytest.mark.parametrize("top_k", [0, 1, 8, VOCABULARY])
def test_scores_are_those_of_the_model(top_k: int, server: RolloutServer, tiny_model: Path) -> None:
    import torch

    from reasoning_pipeline.models.loading import load_model

    load_folder(server.client, tiny_model, "teacher", "float32")
    model = load_model(tiny_model)
    for (prompt, completion), scores in zip(SEQUENCES, scored(server, top_k), strict=True):
        with torch.no_grad():
            logprobs_TV = model(torch.tensor([prompt + completion])).logits[0, len(prompt) - 1 : -1].log_softmax(-1)
        best = logprobs_TV.topk(top_k)
        assert scores.ids_TK.shape == (len(completion), top_k)
        np.testing.assert_allclose(scores.logprobs_TK, best.values.numpy(), atol=1e-5)
        np.testing.assert_allclose(
            scores.logprobs_TK, logprobs_TV.gather(-1, torch.from_numpy(scores.ids_TK.copy()).long()), atol=1e-5
        )
        sampled = logprobs_TV[torch.arange(len(completion)), torch.tensor(completion)]
        np.testing.assert_allclose(scores.sampled_T, sampled.numpy(), atol=1e-5)


@pytest.mark.slow
def test_a_sequence_beyond_the_context_is_refused_and_the_server_lives_on(server: RolloutServer) -> None:
    with pytest.raises(ServerError, match=r"could not score a sequence of 301 tokens[^→]*→ a sequence and one token"):
        list(score_completions(server.client, [([5], [5] * 300)], 4))
    assert len(scored(server, 2)) == len(SEQUENCES)


def distillation(
    stage: Any, work: Path, models: dict[str, Path], profile: HardwareProfile, **changes: Any
) -> tuple[Any, Any]:
    from reasoning_pipeline.data import arithmetic
    from reasoning_pipeline.data.config import PromptConfig
    from reasoning_pipeline.run.context import StageContext

    values = {"policy": "p", "teacher": "t", "seed": 0, "steps": 3, "learning_rate": 1e-3, "rollouts_per_step": 8}
    if "rollouts" in models:
        values |= {"rollouts": "r"}
    else:
        values |= {"prompts": "first", "max_completion_tokens": 12}
    context = StageContext(
        config=stage.Config(**{**values, **changes}),
        label="test-step",
        problems=arithmetic.problems("pool", 8),
        inputs=models,
        prompt=PromptConfig(),
        profile=profile,
        work=work,
    )
    return context.config, context


@pytest.mark.slow
@pytest.mark.parametrize("micro_batch", [None, 4])
def test_on_policy_with_the_whole_vocabulary_from_a_server_is_the_exact_loss(
    micro_batch: int | None, server: RolloutServer, tiny_model: Path, other_model: Path, tmp_path: Path
) -> None:
    from reasoning_pipeline.workflows.reasoning.stages import on_policy_distillation as stage

    models = {"policy": tiny_model, "teacher": other_model}
    losses = {}
    for placement in ("trainer", "server"):
        profile = HardwareProfile(teacher=placement, teacher_top_k=VOCABULARY, micro_batch=micro_batch)
        config, context = distillation(stage, tmp_path / placement, models, profile)
        context.teacher_client = server.client
        outcome = stage.run(config, context)
        losses[placement] = [row["kl"] for row in read_metrics(tmp_path / placement / "metrics.jsonl")]
        assert outcome.result["teacher"]["placement"] == placement
        assert outcome.result["teacher"]["divergence"] == "exact over the vocabulary"
    # Three updates: were the gradients other, the second and third loss would be.
    assert losses["server"] == pytest.approx(losses["trainer"], rel=2e-4)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("top_k", "words"), [(8, "coarsened to 9 outcomes, a lower bound"), (0, "estimated from the sampled token")]
)
def test_on_policy_with_a_few_words_learns_and_says_what_it_learnt_from(
    top_k: int, words: str, server: RolloutServer, tiny_model: Path, other_model: Path, tmp_path: Path
) -> None:
    from reasoning_pipeline.models import loading as model_loading
    from reasoning_pipeline.workflows.reasoning.stages import on_policy_distillation as stage

    profile = HardwareProfile(teacher="server", teacher_top_k=top_k)
    models = {"policy": tiny_model, "teacher": other_model}
    config, context = distillation(stage, tmp_path, models, profile, steps=12, learning_rate=5e-3)
    context.teacher_client = server.client
    trainer = stage.make_trainer(config, context)
    assert trainer.teacher_model is None, "the teacher's weights are nowhere in the trainer"
    outcome = stage.run(config, context)
    assert outcome.result["teacher"] == {"placement": "server", "top_k": top_k, "divergence": words}
    before, after = (exact_kl(folder, other_model, model_loading) for folder in (tiny_model, outcome.folder))
    assert after < before - 0.1, f"the exact divergence fell from {before:.2f} to {after:.2f} nats"


def exact_kl(student: Path, teacher: Path, model_loading: Any) -> float:
    """KL(student || teacher) per token, on fixed sequences, over the whole vocabulary."""
    import torch

    ids = torch.tensor([prompt + completion[:3] for prompt, completion in SEQUENCES])
    with torch.no_grad():
        ours, theirs = (model_loading.load_model(folder)(ids).logits.log_softmax(-1) for folder in (student, teacher))
    return float((ours.exp() * (ours - theirs)).sum(-1).mean())


@pytest.mark.slow
def test_the_warmup_learns_the_same_from_trainer_server_and_cache(
    server: RolloutServer, tiny_model: Path, other_model: Path, tmp_path: Path
) -> None:
    from reasoning_pipeline.base.jsonl import lines, read_rows
    from reasoning_pipeline.data.prompts import PromptRenderer
    from reasoning_pipeline.workflows.reasoning.stages import forward_kl_warmup as stage
    from tests.training.test_trl_bridge import write_rollouts

    folder = write_rollouts(tmp_path / "rollouts", PromptRenderer.from_folder(tiny_model), 8)
    models = {"policy": tiny_model, "teacher": other_model, "rollouts": folder}
    rows = read_rows(folder / "rollouts.jsonl")
    load_folder(server.client, other_model, other_model.name, "float32")
    pairs = [(row["prompt_ids"], row["completion_ids"]) for row in rows]
    for index, scores, _ in score_completions(server.client, pairs, VOCABULARY):
        rows[index]["teacher"] = scores.encoded()
    losses = {}
    for placement in ("trainer", "server", "cached"):
        profile = HardwareProfile(teacher=placement, teacher_top_k=VOCABULARY)
        config, context = distillation(stage, tmp_path / placement, models, profile)
        context.teacher_client = server.client
        if placement == "cached":
            with pytest.raises(PipelineError, match=r"holds no distributions of its teacher[^→]*→ give the"):
                stage.run(config, context)
            (folder / "rollouts.jsonl").write_text(lines(rows), encoding="utf-8")
            config, context = distillation(stage, tmp_path / placement, models, profile)
        outcome = stage.run(config, context)
        assert outcome.result["teacher"]["placement"] == placement
        losses[placement] = [row["kl"] for row in read_metrics(tmp_path / placement / "metrics.jsonl")]
    assert losses["server"] == pytest.approx(losses["trainer"], rel=2e-4)
    assert losses["cached"] == pytest.approx(losses["trainer"], rel=2e-4)


@pytest.mark.slow
def test_a_teacher_that_was_swapped_out_is_noticed(server: RolloutServer, tiny_model: Path, other_model: Path) -> None:
    from reasoning_pipeline.training.teachers import ServerTeacher

    load_folder(server.client, other_model, "teacher-1", "float32")
    teacher = ServerTeacher(server.client, version="teacher-1", top_k=4)
    group = server.client.generate(
        [GenerationRequest(prompt_ids=[1, 20, 3], n=3)], Decoding(max_tokens=5), stop_ids=[2]
    )
    teacher.begin([1, 20, 3], group[0])
    sequences = [([1, 20, 3], completion.token_ids) for completion in group[0]]
    assert [len(scores.sampled_T) for scores in teacher.scores(sequences)] == [len(ids) for _, ids in sequences]
    assert teacher.scored_ahead == 3
    load_folder(server.client, tiny_model, "student-9", "float32")
    with pytest.raises(StaleWeights, match="holds student-9, not teacher-1"):
        teacher.scores(sequences)


def test_scores_survive_their_encoding_bit_by_bit() -> None:
    rng = np.random.default_rng(0)
    scores = TeacherScores(
        ids_TK=rng.integers(0, 150_000, (7, 3), dtype=np.int32),
        logprobs_TK=-rng.random((7, 3), dtype=np.float32),
        sampled_T=-rng.random(7, dtype=np.float32),
    )
    again = TeacherScores.decoded(scores.encoded())
    for name in ("ids_TK", "logprobs_TK", "sampled_T"):
        np.testing.assert_array_equal(getattr(scores, name), getattr(again, name))
    with pytest.raises(ValueError, match="reshape"):
        TeacherScores.decoded(scores.encoded() | {"tokens": 9})


def test_what_a_scoring_server_makes_at_once_is_bounded(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"vocab_size": 151936}')
    arguments = scoring_profile(HardwareProfile(), tmp_path).server.arguments
    tokens = int(arguments[arguments.index("--max-num-batched-tokens") + 1])
    assert 2**29 < tokens * 151_936 * 4 * 3 <= 2**30, "three float32 arrays of [tokens, vocabulary] within 1 GiB"


def test_another_temperature_is_refused_where_it_cannot_be_had(tiny_model: Path, tmp_path: Path) -> None:
    pytest.importorskip("torch")
    from reasoning_pipeline.workflows.reasoning.stages import on_policy_distillation as stage

    models = {"policy": tiny_model, "teacher": tiny_model}
    config, context = distillation(stage, tmp_path, models, HardwareProfile(teacher="server"), temperature=0.8)
    with pytest.raises(PipelineError, match=r"temperature: 0\.8 with `teacher: server`"):
        stage.make_trainer(config, context)
