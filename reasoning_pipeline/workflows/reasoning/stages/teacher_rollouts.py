"""The cached rollout set of Stage 2a: a teacher answers a pool's questions once, and what it wrote is published.

Token ids, sampled log-probabilities and finish reasons are kept, and with `top_k` the teacher's most probable words at
each position, so that the warmup can do without the teacher (`teacher: cached` in the hardware profile). Verdicts are
recorded to watch quality but filter nothing (the paper mentions no filter). Every arm that learns from this teacher
shares the one set.
Try it: python -m reasoning_pipeline run recipes/smoke/teacher_rollouts.yaml
"""

from __future__ import annotations

import time
from collections import Counter
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field

from reasoning_pipeline.base.behind import Behind
from reasoning_pipeline.base.fingerprint import seed_from
from reasoning_pipeline.base.jsonl import lines, read_rows
from reasoning_pipeline.errors import PipelineError
from reasoning_pipeline.recipe.fields import Sampling
from reasoning_pipeline.recipe.rewarded import Rewarded
from reasoning_pipeline.recipe.stage import ModelRef, UsesPrompts
from reasoning_pipeline.recipe.work import Known, Work
from reasoning_pipeline.records import Decoding, Problem, Rollout

if TYPE_CHECKING:
    from reasoning_pipeline.rewards.judge import RewardJudge
    from reasoning_pipeline.rollouts.clients.completions import Completion
    from reasoning_pipeline.run.context import StageContext, StageOutcome
    from reasoning_pipeline.run.metrics import Metrics
    from reasoning_pipeline.training.teachers import ServerTeacher

METRICS_SECONDS = 1.0
"""Between two rows of metrics."""


class Config(UsesPrompts, Rewarded, Sampling):
    publishes: ClassVar[str] = "rollouts"
    generates_with: ClassVar[str | None] = "teacher"
    heavy: ClassVar[bool] = False

    stage: Literal["teacher_rollouts"] = "teacher_rollouts"
    teacher: ModelRef
    """Who writes."""
    rollouts_per_prompt: int = Field(8, ge=1)
    """Completions of each question."""
    top_k: int = Field(0, ge=0)
    """Words whose log-probabilities the teacher leaves at each position, so that the warmup can learn without it
    (`teacher: cached` in the hardware profile); 8 bytes a word before base64. 0 keeps token ids alone."""

    def work(self, known: Known) -> Work:
        return Work(
            rows=known.prompts * self.rollouts_per_prompt,
            prompt_limit=self.max_prompt_tokens,
            completion_limit=self.max_completion_tokens,
            policy="teacher",
            generates=True,
        )


def run(config: Config, context: StageContext) -> StageOutcome:
    """Publishes `rollouts_per_prompt` rollouts of every question. What is on disk already is not written again."""
    from reasoning_pipeline.rewards.judge import RewardJudge
    from reasoning_pipeline.rollouts.clients.completions import GenerationRequest
    from reasoning_pipeline.run.context import StageOutcome

    # What is still to be asked: a killed step finds the groups it has finished.
    renderer = context.renderer("teacher")
    decoding = Decoding(temperature=config.temperature, max_tokens=config.max_completion_tokens, seed=context.seed)
    kept = context.work / "rollouts.jsonl"
    rows = _read_whole_groups(kept, config.rollouts_per_prompt)
    done = {row["problem_id"] for row in rows}
    prompts = {p.id: renderer.prompt_ids(p) for p in context.problems}
    todo = [p for p in context.problems if p.id not in done and len(prompts[p.id]) <= config.max_prompt_tokens]
    too_long = sum(len(ids) > config.max_prompt_tokens for ids in prompts.values())
    metrics = context.start_metrics(total_steps=len(context.problems) - too_long, resumed_at=len(done))
    requests = [
        GenerationRequest(
            prompt_ids=prompts[p.id], n=config.rollouts_per_prompt, seed=seed_from(f"{context.seed}/{p.id}")
        )
        for p in todo
    ]

    # Each group is judged and on the disk while others are being written.
    sampler = context.sampler("teacher")
    with (
        kept.open("a", encoding="utf-8") as file,
        _Keeper(
            file,
            rows,
            metrics,
            judge=RewardJudge(config.reward, config.reward_files),
            resumed_at=len(done),
            teacher=_scoring_teacher(config, context),
        ) as keeper,
    ):

        def finished(index: int, group: list[Completion]) -> None:
            context.stop_if_asked()
            problem = todo[index]
            if keeper.teacher is not None:
                keeper.teacher.begin(prompts[problem.id], group)
            written = [
                _row(problem, sample, prompts[problem.id], completion, renderer.decode(completion.token_ids))
                for sample, completion in enumerate(group)
            ]
            keeper.put((problem, written))

        sampler.generate(requests, decoding, stop_ids=renderer.stop_ids, on_result=finished)
    metrics.close()

    # Published in the order of the problems, whichever group was finished first.
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


class _Keeper(Behind[tuple[Problem, list[dict[str, Any]]]]):
    """Judges finished groups in a thread of its own, while others are being written, and puts each on the disk.

    Leaving the context waits until everything that was given is there; a kill loses what is not.
    """

    def __init__(
        self,
        file: IO[str],
        rows: list[dict[str, Any]],
        metrics: Metrics,
        *,
        judge: RewardJudge,
        resumed_at: int,
        teacher: ServerTeacher | None = None,
    ) -> None:
        super().__init__(self._judge_and_write, name="judge-rollouts")
        self.judge = judge
        self.file, self.rows, self.metrics, self.groups = file, rows, metrics, resumed_at
        self.teacher = teacher
        """Adds its distribution at each position, where the set is to hold it."""
        self._since: list[dict[str, Any]] = []
        self._told = time.monotonic()

    def __exit__(self, *exception: Any) -> None:
        super().__exit__(*exception)
        self._tell()

    def _judge_and_write(self, given: list[tuple[Problem, list[dict[str, Any]]]]) -> None:
        new = [row for _, group in given for row in group]
        _judge(self.judge, new, {problem.id: problem for problem, _ in given})
        if self.teacher is not None:
            pairs = [(row["prompt_ids"], row["completion_ids"]) for row in new]
            for row, scores in zip(new, self.teacher.scores(pairs), strict=True):
                row["teacher"] = scores.encoded()
        self.file.write(lines(new))
        self.file.flush()
        self.rows += new
        self.groups += len(given)
        self._since += new
        if time.monotonic() - self._told >= METRICS_SECONDS:
            self._tell()

    def _tell(self) -> None:
        if self._since:
            rewards = [float(row.get("reward", row["correct"]) or 0.0) for row in self._since]
            self.metrics.write(self.groups, reward=sum(rewards) / len(rewards))
        self._since, self._told = [], time.monotonic()


def _scoring_teacher(config: Config, context: StageContext) -> ServerTeacher | None:
    """The server that wrote the rollouts, asked once more for its `top_k` best words at each position."""
    from reasoning_pipeline.training.teachers import ServerTeacher

    if config.top_k == 0:
        return None
    if context.client is None:
        raise PipelineError(
            f"top_k: {config.top_k} asks for distributions, which the engine {context.profile.engine!r} does not give",
            remedy="set top_k: 0, or engine: vllm in the hardware profile",
        )
    return ServerTeacher(context.client, version=context.label, top_k=config.top_k)


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


def _judge(judge: RewardJudge, rows: list[dict[str, Any]], problems: dict[str, Problem]) -> None:
    """Adds `correct` to each row, and where another reward than the verifier's judges, `reward`."""
    asked = [problems[row["problem_id"]] for row in rows]
    verdicts = judge.judge(asked, [row["text"] for row in rows], [row["finish"] for row in rows])
    for row, verdict in zip(rows, verdicts, strict=True):
        row["correct"] = verdict.correct
        if not judge.is_math:
            row["reward"] = verdict.reward


def _read_whole_groups(path: Path, group_size: int) -> list[dict[str, Any]]:
    """Rows of a file that a killed step may have left torn; a torn line or group is cut off."""
    rows: list[dict[str, Any]] = []
    if path.is_file():
        rows = read_rows(path, torn=True)
        written = Counter(row["problem_id"] for row in rows)
        rows = [row for row in rows if written[row["problem_id"]] == group_size]
        path.write_text(lines(rows), encoding="utf-8")
    return rows
