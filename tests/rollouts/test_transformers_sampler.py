"""The engine without a server: seeds that hold for a rollout, and the distribution that the decoding names."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
import torch
from transformers import GenerationConfig

from reasoning_pipeline.models.loading import load_model
from reasoning_pipeline.records import Decoding
from reasoning_pipeline.rollouts.clients.completions import GenerationRequest
from reasoning_pipeline.rollouts.transformers_sampler import TransformersSampler

pytestmark = pytest.mark.slow

REQUESTS = [GenerationRequest(prompt_ids=[5, 6, 7 + i], n=2, seed=i) for i in range(6)]


@pytest.fixture
def sampler(tiny_model: Path) -> TransformersSampler:
    return TransformersSampler(load_model(tiny_model), pad_id=0)


def test_a_rollout_depends_on_its_own_seed_not_on_the_others(sampler: TransformersSampler) -> None:
    decoding = Decoding(max_tokens=12)
    together = sampler.generate(REQUESTS, decoding, stop_ids=[2])
    alone = [sampler.generate([request], decoding, stop_ids=[2])[0] for request in reversed(REQUESTS)]
    ours = [[completion.token_ids for completion in group] for group in together]
    assert ours == [[completion.token_ids for completion in group] for group in reversed(alone)]
    assert ours[0][0] != ours[0][1], "the samples of one request differ"


def test_frequencies_follow_the_truncated_distribution(sampler: TransformersSampler) -> None:
    decoding = Decoding(temperature=0.7, top_k=3, max_tokens=1)
    with torch.no_grad():
        logits = sampler.model(torch.tensor([[5, 6, 7]])).logits[0, -1] / 0.7
    best = logits.topk(3)
    expected = dict(zip(best.indices.tolist(), best.values.softmax(-1).tolist(), strict=True))
    (group,) = sampler.generate([GenerationRequest(prompt_ids=[5, 6, 7], n=3000)], decoding, stop_ids=[2])
    found = Counter(completion.token_ids[0] for completion in group)
    assert set(found) <= set(expected)
    for token, share in expected.items():  # four standard errors of 3,000 draws
        assert found[token] / 3000 == pytest.approx(share, abs=4 * (share * (1 - share) / 3000) ** 0.5)
    for completion in group[:50]:
        assert torch.tensor(completion.logprobs[0]).exp().item() == pytest.approx(
            expected[completion.token_ids[0]], 1e-4
        )


def test_greedy_takes_the_best_token(sampler: TransformersSampler) -> None:
    with torch.no_grad():
        best = int(sampler.model(torch.tensor([[5, 6, 7]])).logits[0, -1].argmax())
    request = GenerationRequest(prompt_ids=[5, 6, 7], n=2)
    (group,) = sampler.generate([request], Decoding(temperature=0.0, max_tokens=1), stop_ids=[2])
    assert [completion.token_ids for completion in group] == [[best], [best]]


def test_defaults_of_the_models_folder_do_not_bend_what_is_drawn(sampler: TransformersSampler):
    # A repetition penalty of 1.5 in generation_config.json moved log-probabilities by 1.1 nats.
    own = GenerationConfig(repetition_penalty=1.5, no_repeat_ngram_size=2, suppress_tokens=[5], eos_token_id=7)
    model, request = sampler.model, GenerationRequest(prompt_ids=[5, 6, 7], n=8, seed=1)
    plain, decoding = model.generation_config, Decoding(temperature=1.0, max_tokens=16)
    expected = sampler.generate([request], decoding, stop_ids=[2])
    model.generation_config = own
    (group,) = sampler.generate([request], decoding, stop_ids=[2])
    assert model.generation_config is own, "it is the trainer's model; nothing of it is left changed"
    model.generation_config = plain
    assert [c.token_ids for c in group] == [c.token_ids for c in expected[0]]
    for completion in group:
        with torch.no_grad():
            logits = model(torch.tensor([[5, 6, 7, *completion.token_ids]])).logits[0, 2:-1]
        true = logits.log_softmax(-1).gather(-1, torch.tensor(completion.token_ids)[:, None]).squeeze(-1)
        torch.testing.assert_close(torch.tensor(completion.logprobs), true, rtol=0, atol=1e-4)
