"""Preference pairs: the best rewrite is chosen, the logged answer rejected, and only where the judge prefers it so."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from reasoning_pipeline.workflows.user_logs import prompts
from reasoning_pipeline.workflows.user_logs.rules import RuledLog

PAIRS_FILE = "pairs.jsonl"


@dataclass(frozen=True, kw_only=True)
class Pair:
    """Example: Pair(id="s-17", prompt="a poem on rain", chosen="Drops. …", rejected="Rain falls …", chosen_score=9.0,
    rejected_score=4.0, scores=(9.0, 7.0, None))."""

    id: str
    prompt: str
    chosen: str
    rejected: str
    chosen_score: float
    rejected_score: float | None
    scores: tuple[float | None, ...]
    """Of every candidate; None where the judge gave no number."""


def questions(ruled: RuledLog, styles: Sequence[str]) -> list[str]:
    """What the policy is asked, one question a style: `feedback` shows it the user's words alone, `rules` the rules and
    the draft."""
    log = ruled.log
    found = []
    if "feedback" in styles:
        found.append(prompts.answer_with_context(log.question, "\n".join(log.feedback), log.language))
    if "rules" in styles:
        # The rules are what the feedback comes to; the raw words would bring in what the extractor left out on purpose.
        found.append(prompts.revise(log.question, log.answer, ruled.rules, log.language))
    return found


def build(
    ruled: Sequence[RuledLog],
    candidates: Sequence[Sequence[str]],
    scores: Sequence[Sequence[float | None]],
    logged: Sequence[float | None],
    *,
    require_improvement: bool = True,
) -> tuple[list[Pair], Counter[str]]:
    """One pair a log where there is one, and why there is none elsewhere.

    Args:
        candidates: Rewrites of each log; empty ones and copies of the logged answer are no candidates.
        scores: The judge's, of each rewrite; ties go to the first.
        logged: The judge's, of the logged answer.
    """
    pairs: list[Pair] = []
    left: Counter[str] = Counter()
    for one, texts, found, before in zip(ruled, candidates, scores, logged, strict=True):
        log, no_rewrites = one.log, ("", one.log.answer.strip())
        scored = [(text, score) for text, score in zip(texts, found, strict=True) if score is not None]
        usable = [(text, score) for text, score in scored if text.strip() not in no_rewrites]
        chosen, best = max(usable, key=lambda rewrite: rewrite[1], default=("", 0.0))
        if not one.rules:
            left["no rules"] += 1
        elif not usable:
            left["no rewrite that could be scored"] += 1
        elif require_improvement and (before is None or best <= before):
            left["no rewrite better than the logged answer"] += 1
        else:
            pairs.append(
                Pair(
                    id=log.id,
                    prompt=log.question,
                    chosen=chosen,
                    rejected=log.answer,
                    chosen_score=best,
                    rejected_score=before,
                    scores=tuple(found),
                )
            )
    return pairs, left
