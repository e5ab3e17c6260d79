"""Behind the `teacher_rollouts` stage: ask once, keep every rollout, continue where a killed step left off."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reasoning_pipeline.jsonl import lines, read_rows
from reasoning_pipeline.records import Decoding, Problem, Rollout
from reasoning_pipeline.rewards import shared_verifier
from reasoning_pipeline.rollouts.client import Completion, GenerationRequest

if TYPE_CHECKING:
    from reasoning_pipeline.stages.teacher_rollouts import Config
    from reasoning_pipeline.training.context import StageContext, StageOutcome

PROBLEMS_AT_ONCE = 256


def collect_rollouts(config: Config, context: StageContext) -> StageOutcome:
    """Write `rollouts_per_prompt` rollouts for every problem. What is on disk already is not written again."""
    from reasoning_pipeline.rollouts.session import sampler_for
    from reasoning_pipeline.training.context import StageOutcome

    renderer = context.renderer("teacher")
    decoding = Decoding(temperature=config.temperature, max_tokens=config.max_completion_tokens, seed=context.seed)
    kept = context.work / "rollouts.jsonl"
    rows = _read_whole_groups(kept, config.rollouts_per_prompt)
    done = {row["problem_id"] for row in rows}
    prompts = {p.id: renderer.prompt_ids(p.question) for p in context.problems}
    todo = [p for p in context.problems if p.id not in done and len(prompts[p.id]) <= config.max_prompt_tokens]
    too_long = sum(len(ids) > config.max_prompt_tokens for ids in prompts.values())
    metrics = context.start_metrics(total_steps=len(context.problems) - too_long, resumed_at=len(done))
    with kept.open("a", encoding="utf-8") as file, sampler_for(context, "teacher") as sampler:
        for start in range(0, len(todo), PROBLEMS_AT_ONCE):
            context.stop_if_asked()
            part = todo[start : start + PROBLEMS_AT_ONCE]
            requests = [
                GenerationRequest(
                    prompt_ids=prompts[p.id], n=config.rollouts_per_prompt, seed=_problem_seed(context.seed, p)
                )
                for p in part
            ]
            groups = sampler.generate(requests, decoding, stop_ids=renderer.stop_ids)
            new = [
                _row(problem, sample, prompts[problem.id], completion, renderer.decode(completion.token_ids))
                for problem, group in zip(part, groups, strict=True)
                for sample, completion in enumerate(group)
            ]
            _judge(new, {p.id: p for p in part})
            file.write(lines(new))
            file.flush()
            rows += new
            metrics.write(len(done) + start + len(part), reward=sum(row["correct"] for row in new) / len(new))
    metrics.close()
    order = {p.id: position for position, p in enumerate(context.problems)}
    rows.sort(key=lambda row: (order[row["problem_id"]], row["sample"]))
    output = context.fresh_output()
    (output / "rollouts.jsonl").write_text(lines(rows), encoding="utf-8")
    context.copy_metrics(output)
    tokens = sum(len(row["completion_ids"]) for row in rows)
    return StageOutcome(
        output,
        {
            "rollouts": len(rows),
            "accuracy": sum(row["correct"] for row in rows) / max(len(rows), 1),
            "mean_tokens": tokens / max(len(rows), 1),
            "tokens_generated": tokens,
            "prompts_too_long": too_long,
            "seconds": round(metrics.seconds, 2),
        },
    )


def _row(problem: Problem, sample: int, prompt_ids: list[int], completion: Completion, text: str) -> dict[str, Any]:
    return Rollout(
        problem_id=problem.id,
        sample=sample,
        prompt_ids=prompt_ids,
        completion_ids=completion.token_ids,
        text=text,
        logprobs=completion.logprobs,
        finish=completion.finish,
        policy_version=completion.policy_version,
    ).as_json()


def _judge(rows: list[dict[str, Any]], problems: dict[str, Problem]) -> None:
    verdicts = shared_verifier("strict").judge(
        [problems[row["problem_id"]].answer for row in rows],
        [row["text"] for row in rows],
        finishes=[row["finish"] for row in rows],
        questions=[problems[row["problem_id"]].question for row in rows],
    )
    for row, verdict in zip(rows, verdicts, strict=True):
        row["correct"] = verdict.correct


def _problem_seed(seed: int, problem: Problem) -> int:
    from reasoning_pipeline.data.sources import stable_hash

    return int(stable_hash(f"{seed}/{problem.id}")[:12], 16)


def _read_whole_groups(path: Path, group_size: int) -> list[dict[str, Any]]:
    """Rows of a file that a killed step may have left torn; a torn line or group is cut off."""
    rows: list[dict[str, Any]] = []
    if path.is_file():
        rows = read_rows(path, torn=True)
        written = Counter(row["problem_id"] for row in rows)
        rows = [row for row in rows if written[row["problem_id"]] == group_size]
        path.write_text(lines(rows), encoding="utf-8")
    return rows
