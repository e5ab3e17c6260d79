"""C1, measured: two models on held-out problems, compared problem by problem; called by the runner as a step.

Both are asked the same problems with the same seeds through the run's rollout server, judged with the strict rules of
training's reward, and their difference gets the paired interval of reasoning_pipeline/statistics/pairs.py.
"""

from __future__ import annotations

from typing import Any

from reasoning_pipeline.data.prompts import PromptRenderer
from reasoning_pipeline.data.sources import stable_hash
from reasoning_pipeline.data.suites.loading import Suite, data_digest
from reasoning_pipeline.errors import DataError
from reasoning_pipeline.records import Decoding, Problem
from reasoning_pipeline.rewards.config import MATH, RewardPart
from reasoning_pipeline.rewards.judge import RewardJudge
from reasoning_pipeline.run.context import StageContext, StageOutcome
from reasoning_pipeline.statistics import pairs
from reasoning_pipeline.verifier import verifier_versions
from reasoning_pipeline.workflows.reasoning.gates.measuring import MeasureGain

from .run import evaluate
from .summary import Summary, scored


def measure(config: MeasureGain, context: StageContext) -> StageOutcome:
    """Scores start and policy; a killed step continues with the samples that are missing."""
    suite = held_out(context.problems, config.limit, config.reward, config.reward_files)
    output = context.work / "output"  # kept over interruptions: samples on disk are not drawn again
    output.mkdir(parents=True, exist_ok=True)
    metrics = context.start_metrics(total_steps=None)
    summaries: dict[str, Summary] = {}
    for field in ("start", "policy"):
        result = evaluate(
            suites=[suite],
            renderer=PromptRenderer.from_folder(context.inputs[field], context.prompt),
            sampler=context.sampler(field),
            decoding=Decoding(
                temperature=config.temperature, max_tokens=config.max_completion_tokens, seed=config.seed or 0
            ),
            samples=config.samples,
            out=output / field,
            profile="strict",
            checkpoint=context.inputs[field].name,
            progress=lambda progress: context.stop_if_asked(),
        )
        summaries[field] = result.summaries[suite.name]
    metrics.close()
    return StageOutcome(output, figures(summaries) | {"seconds": round(metrics.seconds, 2)})


def held_out(
    problems: list[Problem],
    limit: int | None,
    reward: tuple[RewardPart, ...] = MATH,
    files: dict[str, str] | None = None,
) -> Suite:
    """The problems as a suite; `limit` takes those that come first by a stable hash."""
    chosen = sorted(problems, key=lambda problem: stable_hash(f"measure/{problem.id}"))[:limit]
    audited = RewardJudge(reward, files).usable(chosen)
    if not audited.usable:
        raise DataError("none of the held-out answers can be judged against", remedy="name other problems")
    return Suite(
        name="held_out",
        title="held-out problems",
        problems=tuple(audited.usable),
        set_aside=tuple(audited.set_aside),
        rows=len(chosen),
        digest=data_digest(chosen),
        source="recipe",
        max_tokens={},
        reward=reward,
        reward_files=dict(files or {}),
    )


def figures(summaries: dict[str, Summary]) -> dict[str, Any]:
    """What the record keeps; shares of 1. `gain` is None where no problem was scored for both.

    Example:
        {"gain": 0.54, "gain_interval": [0.49, 0.59], "gain_se": 0.026, "p": 0.0001, "problems": 200, "samples": 4,
         "accuracy_start": 0.34, "accuracy": 0.88, "won": 150, "lost": 3, "tied": 47, "verifier": {…}}
    """
    start, policy = summaries["start"], summaries["policy"]
    found: dict[str, Any] = {
        "accuracy_start": start.score.mean if start.score else None,
        "accuracy": policy.score.mean if policy.score else None,
        "samples": policy.samples,
        "verifier": verifier_versions(),
    }
    try:
        paired = pairs.compare(scored(start.scores), scored(policy.scores))
    except ValueError:
        return found | {"gain": None, "gain_interval": None, "problems": 0}
    return found | {
        "gain": paired.difference,
        "gain_interval": [paired.low, paired.high],
        "gain_se": paired.se,
        "p": paired.p,
        "problems": paired.problems,
        "won": paired.won,
        "lost": paired.lost,
        "tied": paired.tied,
    }
