"""Who plays what beside the policy: extractor, judge, coverage scorer, embedder. A model each, or the small world's
programs, which are stand-ins and are named as such wherever their work is reported.

Judge, policy and evaluator are configured apart: a judge that shares the policy's weights prefers what the policy
writes, and one that is shown the rules of which an answer was made prefers that answer.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path
from statistics import mean
from typing import Any

import numpy as np

from reasoning_pipeline.data.config import PromptConfig
from reasoning_pipeline.data.prompts import PromptRenderer
from reasoning_pipeline.records import Decoding
from reasoning_pipeline.run.context import StageContext
from reasoning_pipeline.run.speaking import Speaker, speaker
from reasoning_pipeline.workflows.user_logs import prompts, small_world
from reasoning_pipeline.workflows.user_logs.gap import Coverage
from reasoning_pipeline.workflows.user_logs.logs import Log
from reasoning_pipeline.workflows.user_logs.rules import RULES_SCHEMA, SCORE_SCHEMA, parse_score
from reasoning_pipeline.workflows.user_logs.settings import Embedding, Judged, Judging

Judge = Callable[[Sequence[tuple[str, Sequence[str], str, str]]], list[float | None]]
"""(query, rules, answer, language) -> mean score, 1 to 10; None where it gave no number."""
Embedder = Callable[[Sequence[str]], np.ndarray]
WORDS_DIMENSIONS = 256


def extract(model: Speaker | None, logs: Sequence[Log], decoding: Decoding) -> list[tuple[str, str]]:
    """(reply about the feedback, reply about the query alone) of each log, as JSON texts."""
    if model is None:
        return [(small_world.extract(log), small_world.guess(log)) for log in logs]
    shown = [prompts.rules_from_feedback(log) for log in logs] + [prompts.rules_from_query(log) for log in logs]
    replies = [found[0] for found in model.ask(shown, decoding, schema=RULES_SCHEMA)]
    return list(zip(replies[: len(logs)], replies[len(logs) :], strict=True))


def judge(model: Speaker | None, config: Judging, seed: int) -> Judge:
    """A judge that is one model, or the program where there is none."""
    if model is None:
        return lambda asked: [float(small_world.judge(query, rules, answer)) for query, rules, answer, _ in asked]

    def by_model(asked: Sequence[tuple[str, Sequence[str], str, str]]) -> list[float | None]:
        shown = [prompts.judge(*parts) for parts in asked]
        greedy = Decoding(temperature=0.0, max_tokens=config.max_tokens, seed=seed)
        replies = model.ask(shown, greedy, schema=SCORE_SCHEMA)
        if config.samples > 1:
            drawn = Decoding(temperature=1.0, top_p=0.9, max_tokens=config.max_tokens, seed=seed)
            more = model.ask(shown, drawn, n=config.samples - 1, schema=SCORE_SCHEMA)
            replies = [first + others for first, others in zip(replies, more, strict=True)]
        scores = [[score for reply in group if (score := parse_score(reply)) is not None] for group in replies]
        return [mean(group) if group else None for group in scores]

    return by_model


def judge_of(config: Judged, context: StageContext, policy: Speaker, seed: int) -> Judge:
    """The model in the field `judge`, the policy where none is named, or the program.

    To be called when its turn has come: on a shared server the judge takes the policy's place.
    """
    model = policy if config.judging.by == "model" else None
    if model is not None and config.judge is not None:
        model = speaker(context, "judge", max_prompt_tokens=policy.max_prompt_tokens, memory=policy.memory)
    return judge(model, config.judging, seed)


def coverage(context: StageContext, max_tokens: int) -> Coverage:
    """The reranker in the field `scorer` that says yes or no, on a server or in this process; or the program."""
    if "scorer" not in context.inputs:
        return lambda asked: [small_world.covers(rule, prior) for rule, prior in asked]
    from reasoning_pipeline.models.reading import probability_of_yes

    folder = context.inputs["scorer"]
    renderer = PromptRenderer.from_folder(folder, PromptConfig(system=prompts.COVERAGE_SYSTEM))
    client: Any = context.sampler("scorer") if context.client is not None else None

    def by_model(asked: Sequence[tuple[str, Sequence[str]]]) -> list[float]:
        shown = [renderer.prompt_ids(prompts.coverage(rule, prior)) for rule, prior in asked]
        return probability_of_yes(
            folder,
            shown,
            max_tokens=max_tokens,
            score=client and client.score,
            device=context.profile.device,
            dtype=context.profile.precision,
        )

    return by_model


def embedder(folder: Path | None, config: Embedding, *, device: str, dtype: str) -> Embedder:
    """Texts -> [N, D], rows of length 1."""
    if folder is None:
        return by_words
    from reasoning_pipeline.models.reading import TextEmbedder

    return TextEmbedder(folder, pooling=config.pooling, max_tokens=config.max_tokens, device=device, dtype=dtype)


def by_words(texts: Sequence[str]) -> np.ndarray:
    """A text's words, each a random direction that follows from the word alone; rows of length 1."""
    found = np.zeros((len(texts), WORDS_DIMENSIONS), dtype=np.float32)
    for row, text in enumerate(texts):
        for word in text.split():
            found[row] += _direction(word)
    return found / np.maximum(np.linalg.norm(found, axis=1, keepdims=True), 1e-9)


@lru_cache(maxsize=100_000)
def _direction(word: str) -> np.ndarray:
    seed = int.from_bytes(hashlib.sha256(word.encode()).digest()[:8], "big")
    return np.random.default_rng(seed).standard_normal(WORDS_DIMENSIONS).astype(np.float32)
