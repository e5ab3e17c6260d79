"""C2, measured: how near a student is to the RL'd teacher, on rollouts that the student writes.

Mean over completion tokens of KL(student || teacher), of KL(teacher || student), both exact over the vocabulary and in
nats, and of the share of the teacher's top-k tokens that are among the student's; 95 % intervals with prompts drawn.
No label is used and nothing is trained. It starts behind the profile's launcher like a training: the processes share
the passes, and where the configuration divides models (FSDP2) both are divided. A recipe asks for it under `gates.c2`
(docs/gates_and_resume.md), which puts such steps where the bridge begins and behind each of its stages.
Try it: python -m reasoning_pipeline run recipes/smoke/measure_divergence.yaml
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field

from reasoning_pipeline.base.fingerprint import seed_from
from reasoning_pipeline.base.jsonl import lines
from reasoning_pipeline.data.sources import stable_hash
from reasoning_pipeline.errors import PipelineError
from reasoning_pipeline.recipe.fields import Sampling
from reasoning_pipeline.recipe.stage import ModelRef, UsesPrompts
from reasoning_pipeline.recipe.work import Known, Work
from reasoning_pipeline.records import Decoding

if TYPE_CHECKING:
    from reasoning_pipeline.rollouts.clients.completions import Completion
    from reasoning_pipeline.run.context import StageContext, StageOutcome
    from reasoning_pipeline.training.distance import RolloutDistance


class Config(UsesPrompts, Sampling):
    publishes: ClassVar[str] = "measurement"
    generates_with: ClassVar[str | None] = "policy"
    stage: Literal["measure_divergence"] = "measure_divergence"
    policy: ModelRef
    """The student, which writes the rollouts."""
    teacher: ModelRef
    """What it is held against."""
    rollouts: int = Field(300, ge=1)
    """At most this many questions of the pools, by stable hash; one rollout each."""
    top_k: int = Field(16, ge=1)
    """Tokens at each position whose overlap is measured."""

    def work(self, known: Known) -> Work:
        return Work(
            rows=min(self.rollouts, known.prompts),
            prompt_limit=self.max_prompt_tokens,
            completion_limit=self.max_completion_tokens,
            teacher="teacher",
            generates=True,
            compares=True,
        )


def run(config: Config, context: StageContext) -> StageOutcome:
    """Publishes the student's rollouts, each with its sums. Not resumed inside: a few hundred rollouts are written in
    one go, from seeds, so a killed step starts over."""
    from reasoning_pipeline.models.compatible import check_compatible
    from reasoning_pipeline.rollouts.clients.completions import GenerationRequest
    from reasoning_pipeline.run.context import StageOutcome
    from reasoning_pipeline.training.distance import distances_over_processes
    from reasoning_pipeline.training.processes import from_main, join
    from reasoning_pipeline.training.sharding import check_placement, frozen_for_scoring

    accelerator = join(context)
    check_compatible(context.inputs["policy"], context.inputs["teacher"], context.prompt)
    # Which questions: the first of the pools by a stable hash, so that every measurement asks the same.
    renderer = context.renderer("policy")
    metrics = context.start_metrics(total_steps=None) if accelerator.is_main_process else None
    asked = [
        (problem, ids)
        for problem in sorted(context.problems, key=lambda problem: stable_hash(f"measure/{problem.id}"))
        if len(ids := renderer.prompt_ids(problem)) <= config.max_prompt_tokens
    ][: config.rollouts]
    if not asked:
        raise PipelineError("no question is short enough to be asked", remedy="raise max_prompt_tokens")

    # The student writes one rollout of each.
    decoding = Decoding(temperature=config.temperature, max_tokens=config.max_completion_tokens, seed=context.seed)
    requests = [
        GenerationRequest(prompt_ids=ids, seed=seed_from(f"measure/{context.seed}/{problem.id}"))
        for problem, ids in asked
    ]
    completions: list[Completion] = []
    if accelerator.is_main_process:
        groups = context.sampler("policy").generate(requests, decoding, stop_ids=renderer.stop_ids)
        context.stop_if_asked()
        completions = [group[0] for group in groups]
    completions = from_main(accelerator, completions)

    # Both models are asked for their whole distributions at every token of it.
    student, teacher = (
        frozen_for_scoring(context.inputs[name], accelerator, dtype=context.profile.precision)
        for name in ("policy", "teacher")
    )
    check_placement({"student": student, "teacher": teacher}, accelerator)
    distances = distances_over_processes(
        student,
        teacher,
        [(ids, completion.token_ids) for (_, ids), completion in zip(asked, completions, strict=True)],
        accelerator,
        top_k=config.top_k,
        temperature=config.temperature,
    )
    if metrics is None:
        return StageOutcome(context.work / "output", {})
    metrics.close()

    # Published: the rollouts with the sums of each, so that any figure can be made again.
    output = context.fresh_output()
    rows = [
        {"problem_id": problem.id, "prompt_ids": ids, "completion_ids": completion.token_ids} | asdict(distance)
        for (problem, ids), completion, distance in zip(asked, completions, distances, strict=True)
    ]
    (output / "rollouts.jsonl").write_text(lines(rows), encoding="utf-8")
    result = figures(distances, [problem.id for problem, _ in asked], config.top_k)
    result["truncated"] = sum(completion.finish == "length" for completion in completions) / len(completions)
    return StageOutcome(output, result | {"seconds": round(metrics.seconds, 2)})


def figures(distances: Sequence[RolloutDistance], prompts: Sequence[str], top_k: int) -> dict[str, Any]:
    """What the record keeps. Absent (None) where the student wrote nothing.

    Example:
        {"reverse_kl": 0.025, "reverse_kl_interval": [0.019, 0.031], "forward_kl": 0.02, …, "top_k_overlap": 0.83, …,
         "top_k": 16, "rollouts": 300, "prompts": 300, "tokens": 3600}
    """
    from reasoning_pipeline.training.distance import interval, per_token

    found: dict[str, Any] = {}
    for field in ("reverse_kl", "forward_kl", "overlap"):
        name = "top_k_overlap" if field == "overlap" else field
        mean, ends = per_token(distances, field), interval(distances, prompts, field)
        found |= {name: mean, f"{name}_interval": list(ends) if ends is not None else [mean, mean]}
    tokens = sum(distance.tokens for distance in distances)
    return found | {"top_k": top_k, "rollouts": len(distances), "prompts": len(set(prompts)), "tokens": tokens}
