"""An evaluation (or the C1 measurement) as a step of a plan: `python -m evals step CONTEXT.json`, called by the runner.

Scores one checkpoint on the recipe's suites through the run's rollout server and publishes the result.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from reasoning_pipeline.data.prompts import PromptRenderer
from reasoning_pipeline.data.suites.loading import Suite, load_suite
from reasoning_pipeline.records import Decoding
from reasoning_pipeline.run.context import StageContext, StageOutcome
from reasoning_pipeline.run.program import StepContext, execute
from reasoning_pipeline.verifier import verifier_versions
from reasoning_pipeline.workflows.reasoning.evaluation import EvaluateStep
from reasoning_pipeline.workflows.reasoning.gates.measuring import GAIN, MeasureGain

from . import gain
from .progress import SoFar
from .run import evaluate
from .summary import Summary

FIELD = "checkpoint"


def main(argv: Sequence[str]) -> int:
    step = StepContext.model_validate_json(Path(argv[0]).read_text(encoding="utf-8"))
    if step.config["stage"] == GAIN:
        return execute(step, MeasureGain.model_validate(step.config), gain.measure)
    return execute(step, EvaluateStep.model_validate(step.config), score)


def score(config: EvaluateStep, context: StageContext) -> StageOutcome:
    """Evaluate on every suite; a killed step continues with the samples that are missing."""
    suites = [_suite(name, config) for name in config.suites]
    output = context.work / "output"  # kept over interruptions: samples on disk are not drawn again
    output.mkdir(parents=True, exist_ok=True)
    metrics = context.start_metrics(total_steps=None)

    def report(so_far: SoFar) -> None:
        context.stop_if_asked()
        metrics.report(so_far.as_json())

    result = evaluate(
        suites=suites,
        renderer=PromptRenderer.from_folder(context.inputs[FIELD], context.prompt),
        sampler=context.sampler(FIELD),
        decoding=Decoding(
            temperature=config.temperature,
            top_p=config.top_p,
            top_k=config.top_k,
            max_tokens=config.max_tokens,
            seed=config.seed or 0,
        ),
        samples=config.samples,
        out=output,
        checkpoint=context.inputs[FIELD].name,
        progress=report,
    )
    metrics.close()
    figures: dict[str, Any] = {
        "suites": {name: headline(summary) for name, summary in result.summaries.items()},
        "verifier": verifier_versions(),
        "seconds": round(metrics.seconds, 2),
        "tokens_generated": sum(summary.tokens for summary in result.summaries.values()),
    }
    return StageOutcome(output, figures)


def headline(summary: Summary) -> dict[str, Any]:
    """A summary's figures as the record keeps them; shares of 1."""
    score = summary.score
    return {
        "accuracy": score.mean if score else None,
        "se_problems_fixed": score.se_fixed if score else None,
        "se_problems_drawn": score.se_drawn if score else None,
        "interval": [score.low, score.high] if score else None,
        "problems": score.problems if score else 0,
        "samples": summary.samples,
        "pass_at_k": summary.pass_at.get(summary.samples),
        "truncated": summary.shares.get("truncated"),
        "no_answer": summary.shares.get("no_answer"),
        "unscored": summary.shares.get("unscored"),
        "strict_mean": summary.strict_mean,
        "mean_tokens": summary.lengths.get("all", {}).get("mean"),
    }


def _suite(name: str, config: EvaluateStep) -> Suite:
    path = config.data.get(name)
    suite = load_suite(name, data=Path(path) if path else None)
    return suite.limited(config.limit) if config.limit is not None else suite
