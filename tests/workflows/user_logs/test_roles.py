"""Models in the roles: what each is asked, the schema its reply is kept to, and one real server for a stage each."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from transformers import AutoModel

from reasoning_pipeline.data.config import PromptConfig
from reasoning_pipeline.data.prompts import PromptRenderer
from reasoning_pipeline.data.tokenizer_making import save_word_tokenizer
from reasoning_pipeline.errors import IncompatibleModels
from reasoning_pipeline.models.reading import TextEmbedder, probability_of_yes
from reasoning_pipeline.records import Decoding
from reasoning_pipeline.registry.store import Registry
from reasoning_pipeline.rollouts.clients.scripted import ScriptedSampler
from reasoning_pipeline.run.speaking import Memory, Speaker
from reasoning_pipeline.workflows.user_logs import roles
from reasoning_pipeline.workflows.user_logs.logs import Log
from reasoning_pipeline.workflows.user_logs.rules import RULES_SCHEMA, SCORE_SCHEMA
from reasoning_pipeline.workflows.user_logs.settings import Judging
from tests.run.conftest import Run

LOG = Log(id="a", query=({"role": "user", "content": "a poem"},), answer="Rain.", feedback=("shorter please",))


def scripted(folder: Path, says) -> Speaker:
    """A model that is told what to say: says(prompt text, index of the sample)."""
    renderer = PromptRenderer.from_folder(folder, PromptConfig())
    sampler = ScriptedSampler(lambda ids, sample: says(renderer.decode(ids), sample), renderer)
    return Speaker(sampler, renderer, version="scripted")


def test_an_extractor_is_asked_twice_and_kept_to_a_list(tiny_model: Path) -> None:
    said = {True: '["Be brief."]', False: "[]"}
    speaker = scripted(tiny_model, lambda prompt, _: said["Later messages" in prompt])
    assert roles.extract(speaker, [LOG], Decoding(max_tokens=60)) == [('["Be brief."]', "[]")]
    assert {request.schema for request in speaker.sampler.requests} == {RULES_SCHEMA}


def test_a_judge_is_asked_greedily_once_and_its_scores_are_averaged(tiny_model: Path) -> None:
    replies = iter(['{"reason": "", "score": 8}', '{"reason": "", "score": 5}', "no idea", "nothing", "x", "y"])
    speaker = scripted(tiny_model, lambda prompt, _: next(replies))
    judge = roles.judge(speaker, Judging(samples=3, max_tokens=60), seed=0)
    # The greedy reply of each answer first, then two drawn ones of each.
    assert judge([("q", ("r",), "a", "en"), ("q", ("r",), "b", "en")]) == [8.0, 5.0]
    assert {request.schema for request in speaker.sampler.requests} == {SCORE_SCHEMA}
    assert [request.n for request in speaker.sampler.requests] == [1, 1, 2, 2]


def test_a_judge_without_a_number_gives_none(tiny_model: Path) -> None:
    judge = roles.judge(scripted(tiny_model, lambda *_: "10 of 10"), Judging(samples=1, max_tokens=60), seed=0)
    assert judge([("q", (), "a", "en")]) == [None]


def test_replies_under_another_schema_are_other_replies(tiny_model: Path, tmp_path: Path) -> None:
    speaker = scripted(tiny_model, lambda prompt, sample: str(sample))
    speaker.memory = Memory(tmp_path / "replies.jsonl")
    decoding = Decoding(max_tokens=8)
    first = speaker.ask(["q"], decoding)
    assert speaker.ask(["q"], decoding) == first != speaker.ask(["q"], decoding, schema=RULES_SCHEMA)


@pytest.fixture(scope="module")
def reranker(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Random weights over words, of which yes and no are two."""
    import torch
    from transformers import Qwen3Config, Qwen3ForCausalLM

    folder = tmp_path_factory.mktemp("models") / "reranker"
    size = save_word_tokenizer(folder, ("yes", "no", "stone", "river"))
    torch.manual_seed(5)
    shape = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
    config = Qwen3Config(vocab_size=size, num_key_value_heads=2, head_dim=32, initializer_range=0.3, **shape)
    Qwen3ForCausalLM(config).save_pretrained(folder)
    return folder


def test_yes_is_as_likely_by_a_servers_scores_as_in_this_process(reranker: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(reranker)

    def score(sequences):
        with torch.no_grad():
            rows = [(ids, model(torch.tensor([ids])).logits[0].log_softmax(-1)) for ids in sequences]
        return [[float(row[at - 1, ids[at]]) for at in range(1, len(ids))] for ids, row in rows]

    prompts = [[3, 4, 5, 6], [5, 3], [6]]
    here = probability_of_yes(reranker, prompts, max_tokens=64)
    assert probability_of_yes(reranker, prompts, max_tokens=64, score=score) == pytest.approx(here, abs=1e-5)
    assert max(here) - min(here) > 0.01
    assert probability_of_yes(reranker, [[3, 4, *prompts[0]]], max_tokens=4) == pytest.approx(here[:1], abs=1e-5)


def test_a_scorer_that_cannot_say_yes_is_refused(tiny_model: Path) -> None:
    with pytest.raises(IncompatibleModels, match="no single token for yes"):
        probability_of_yes(tiny_model, [[1]], max_tokens=8)


def test_a_coverage_scorer_is_shown_the_reranker_frame(tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shown = []
    monkeypatch.setattr(
        "reasoning_pipeline.models.reading.probability_of_yes", lambda folder, ids, **_: shown.extend(ids) or [0.9]
    )
    profile = SimpleNamespace(device="cpu", precision="float32")
    context = SimpleNamespace(inputs={"scorer": tiny_model}, client=None, profile=profile)
    assert roles.coverage(context, 64)([("Be brief.", ["Be short."])]) == [0.9]
    text = PromptRenderer.from_folder(tiny_model, PromptConfig()).decode(shown[0])
    assert '<Query>: "Be brief."' in text and '1. "Be short."' in text


@pytest.mark.parametrize("pooling", ["last", "mean"])
def test_an_embedder_reads_each_text_by_itself(tiny_model: Path, pooling: str) -> None:
    import torch

    embed = TextEmbedder(tiny_model, pooling=pooling, max_tokens=20, batch=2)
    texts = ["1+1", "12*3-4", "7", "1" * 30]
    found = embed(texts)
    assert found.shape == (4, 32) and np.allclose(np.linalg.norm(found, axis=1), 1, atol=1e-5)
    model = AutoModel.from_pretrained(tiny_model)
    for row, text in zip(found, texts, strict=True):
        ids = embed.tokenizer(text, truncation=True, max_length=20, return_tensors="pt").input_ids
        with torch.no_grad():
            hidden = model(ids).last_hidden_state[0]
        alone = hidden[-1] if pooling == "last" else hidden.mean(0)
        assert np.allclose(row, torch.nn.functional.normalize(alone, dim=0), atol=1e-4)
    assert embed([]).shape == (0, 32)


RECIPE = """
name: roles
seed: 0
data: {problems: {source: arithmetic, count: 8, pools: {first: 1}}}
steps:
  base: {stage: pretrain, architecture: {max_positions: 4096, layers: 1, heads: 1}, clean_steps: 4}
  judging: {stage: pretrain, seed: 2, architecture: {max_positions: 4096, layers: 2, heads: 1}, clean_steps: 4}
  logs: {stage: read_logs, file: logs.jsonl}
  rules:
    {stage: extract_rules, logs: step:logs, by: model, extractor: step:judging, drop_empty: false, temperature: 1.0,
     max_prompt_tokens: 2048, max_completion_tokens: 2000}
  pairs:
    {stage: write_pairs, policy: step:base, rules: step:rules, judge: step:judging, require_improvement: false,
     judging: {samples: 1, max_tokens: 700}, samples: 2, max_prompt_tokens: 3000, max_completion_tokens: 12}
  clusters: {stage: cluster_logs, rules: step:rules, embedding: {by: model, pooling: mean}, embedder: step:judging}
"""


@pytest.mark.slow
def test_models_of_two_architectures_play_the_roles_on_real_servers(tmp_path: Path) -> None:
    """Random weights, kept to their schemas; a server for each architecture."""
    rows = [{"id": f"s{n}", "query": f"{n}+1", "answer": "7", "feedback": ["shorter"]} for n in range(6)]
    (tmp_path / "logs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "roles.yaml").write_text(RECIPE)
    status, output = Run("run", tmp_path / "roles.yaml", "--hardware", "cpu", "--root", tmp_path / "runs").finish()
    # Random weights seldom end a long reply in time: then no rewrite has a score, and the step says so.
    assert status == 0 or "no pair could be made of 6 logs" in output, output
    made = {found.record.stage: found.record.result for found in Registry(tmp_path / "runs").artifacts()}
    assert made["extract_rules"]["extractor"] == "a model" and made["extract_rules"]["kept"] >= 1
    assert len(list((tmp_path / "runs/roles/logs").glob("server-*.log"))) == 2
