"""What each stage earned, read from records alone: accuracy before and after, labels, time.

"Before" is the evaluation of the checkpoint a step started from, "after" that of the checkpoint it made. What has not
been measured is absent, never zero.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from reasoning_pipeline.base.text import ABSENT, counted, percent
from reasoning_pipeline.recipe.stage import Evaluation, can_answer

if TYPE_CHECKING:
    from rich.table import Table

    from reasoning_pipeline.plan.graph import Plan, PlannedStep
    from reasoning_pipeline.registry.record import Record

Role = Literal["teacher", "student", "baseline"]
"""Which chain a step belongs to: the teacher's, the student's, or a comparison that never meets a teacher."""

ROLES: tuple[Role, ...] = ("teacher", "student", "baseline")


@dataclass(frozen=True, kw_only=True)
class Accuracy:
    """One checkpoint on one suite. Shares are of 1.

    Example:
        Accuracy(mean=0.881, se_drawn=0.012, se_fixed=0.007, low=0.857, high=0.904, problems=500, samples=4,
                 truncated=0.0, no_answer=0.001, unscored=0.0, mean_tokens=15.2)
    """

    mean: float
    se_drawn: float | None = None
    """Standard error had other problems of the kind been drawn; None where it could not be had."""
    se_fixed: float | None = None
    """Standard error had the same problems been sampled again."""
    low: float | None = None
    """Ends of the 95 % interval, problems drawn."""
    high: float | None = None
    problems: int | None = None
    samples: int | None = None
    truncated: float | None = None
    no_answer: float | None = None
    unscored: float | None = None
    mean_tokens: float | None = None
    pass_at_k: float | None = None
    """Share of problems with at least one right answer among `samples`."""

    @classmethod
    def from_result(cls, entry: dict[str, Any]) -> Accuracy | None:
        """From a suite's entry in an evaluation's record; None where no sample could be scored."""
        if entry.get("accuracy") is None:
            return None
        low, high = entry.get("interval") or (None, None)
        same = ("problems", "samples", "truncated", "no_answer", "unscored", "mean_tokens", "pass_at_k")
        return cls(
            mean=entry["accuracy"],
            se_drawn=entry.get("se_problems_drawn"),
            se_fixed=entry.get("se_problems_fixed"),
            low=low,
            high=high,
            **{name: entry.get(name) for name in same},
        )


@dataclass(frozen=True, kw_only=True)
class StageResult:
    """One checkpoint of the plan, made or still to be made.

    Example:
        StageResult(step="polish", stage="extra_rl", role="student", policy="distill",
                    did="64 steps, reward 0.86 → 0.91", before={"arithmetic": Accuracy(mean=0.877)},
                    after={"arithmetic": Accuracy(mean=0.902)}, labels=1024, labels_here=256, seconds=21.4,
                    state="complete")
    """

    step: str
    stage: str
    role: Role
    policy: str | None
    """The step (or the model from outside) it started from; None where it began with random weights."""
    did: str
    before: dict[str, Accuracy]
    """By suite; a suite that was not measured has no entry."""
    after: dict[str, Accuracy]
    labels: int
    """Distinct labels bought by the whole lineage."""
    labels_here: int
    """Labels this step alone spends, replayed ones included."""
    seconds: float | None
    """Wall time of the training step, its evaluation not counted."""
    state: Literal["complete", "missing"]


def stage_results(plan: Plan) -> list[StageResult]:
    """One result per checkpoint, in plan order."""
    chain = roles(plan)
    return [_result(plan, step, chain[step.name]) for step in checkpoints(plan)]


def checkpoints(plan: Plan) -> list[PlannedStep]:
    """The steps that make a checkpoint, or something else that answers, in plan order."""
    return [step for step in plan.steps if can_answer(step.config)]


def suites(plan: Plan) -> tuple[str, ...]:
    """The suites this recipe is scored on."""
    scored = (step.config.suites for step in plan.steps if isinstance(step.config, Evaluation))
    return tuple(dict.fromkeys(suite for suites in scored for suite in suites))


def roles(plan: Plan) -> dict[str, Role]:
    """Step -> chain, from the graph alone: whoever is asked as a teacher, and what it came from, is the teacher's
    chain; whoever learned from one, and what it came from, the student's; the rest is the baseline. Without any
    teacher there is nothing to compare with, and every step is the student's."""
    inputs = {step.name: {entry.field: entry.step for entry in step.inputs} for step in plan.steps}

    def with_starts(names: set[str]) -> set[str]:
        found: set[str] = set()
        for name in names:
            at: str | None = name
            while at is not None and at not in found:
                found.add(at)
                at = inputs[at].get("policy")
        return found

    teachers = with_starts({asked for fields in inputs.values() if (asked := fields.get("teacher"))})
    taught = {name for name, fields in inputs.items() if "policy" in fields and {"teacher", "rollouts"} & fields.keys()}
    # In plan order, so that one pass finds those that continue from a taught policy.
    for name, fields in inputs.items():
        if fields.get("policy") in taught:
            taught.add(name)
    students = with_starts(taught) - teachers
    chain: dict[str, Role] = {}
    for step in plan.steps:
        if step.name in teachers:
            chain[step.name] = "teacher"
        elif step.name in students or not taught:
            chain[step.name] = "student"
        elif can_answer(step.config):
            chain[step.name] = "baseline"
        else:  # rollouts and evaluations belong to whom they are about
            chain[step.name] = chain.get(step.inputs[0].step or "", "teacher")
    return chain


def _result(plan: Plan, step: PlannedStep, role: Role) -> StageResult:
    from reasoning_pipeline.registry.record import distinct_labels

    start = next((entry for entry in step.inputs if entry.field == "policy"), None)
    record = step.artifact.record if step.artifact is not None else None
    return StageResult(
        step=step.name,
        stage=step.config.stage,
        role=role,
        policy=None if start is None else start.step or start.reference,
        did="not run yet" if record is None else _did(record.result),
        before=_accuracies(plan, start.step) if start is not None and start.step is not None else {},
        after=_accuracies(plan, step.name),
        labels=distinct_labels(step.lineage),
        labels_here=sum(spend.labels for spend in step.spends),
        seconds=None if record is None else seconds_of(record),
        state="missing" if record is None else "complete",
    )


def seconds_of(record: Record) -> float | None:
    """What the step itself took; its process with start and loading where only that is known."""
    for seconds in (record.result.get("seconds"), record.provenance.get("wall_seconds")):
        if seconds is not None:
            return float(seconds)
    return None


def _accuracies(plan: Plan, checkpoint: str) -> dict[str, Accuracy]:
    evaluation = plan.evaluation_of(checkpoint)
    if evaluation is None or evaluation.artifact is None:
        return {}
    entries = evaluation.artifact.record.result.get("suites", {})
    found = {suite: Accuracy.from_result(entry) for suite, entry in entries.items()}
    return {suite: accuracy for suite, accuracy in found.items() if accuracy is not None}


def _did(result: dict[str, Any]) -> str:
    """`48 steps, reward 0.34 → 0.91`, with what there is."""
    parts = []
    if (steps := result.get("steps")) is not None:
        parts.append(counted(steps, "step"))
    for name, label, form in (("reward", "reward", ".2f"), ("kl", "KL", ".2g")):
        first, last = result.get(f"{name}_first"), result.get(f"{name}_last")
        if first is not None and last is not None:
            parts.append(f"{label} {first:{form}} → {last:{form}}")
    if (parameters := result.get("parameters")) is not None:
        parts.append(f"{parameters:,} parameters")
    return ", ".join(parts) or "done"


def with_error(accuracy: Accuracy | None) -> str:
    """`88.1 ± 1.2`, in percent; the error is that of problems drawn. An error of zero means that no variance was seen,
    from which nothing follows, and is not shown."""
    if accuracy is None:
        return ABSENT
    error = f" ± {percent(accuracy.se_drawn)}" if accuracy.se_drawn else ""
    return percent(accuracy.mean) + error


def change(result: StageResult, suite: str) -> str:
    """`34.1 → 88.1 ± 1.2`; without the arrow where nothing came before, `–` for what was not measured."""
    before, after = result.before.get(suite), result.after.get(suite)
    if result.policy is None or (before is None and after is None):
        return with_error(after)
    return f"{percent(before.mean if before else None)} → {with_error(after)}"


def minutes(seconds: float | None) -> str:
    return ABSENT if seconds is None else f"{seconds / 60:.1f}"


def results_table(plan: Plan) -> Table:
    """The table a run ends with: one row per checkpoint, legible in 80 columns."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    asked = suites(plan)
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, collapse_padding=True)
    table.add_column("step")
    table.add_column("what it did")
    for suite in asked:
        table.add_column(Text(suite), justify="right", overflow="fold")
    table.add_column("labels", justify="right")
    table.add_column("min", justify="right")
    for result in stage_results(plan):
        steps, _, learned = result.did.partition(", ")
        table.add_row(
            Text.assemble(result.step, "\n", (steps, "dim")),
            Text.assemble((result.stage, "dim"), "\n", learned),
            *(Text(change(result, suite).replace(" ±", "\n±")) for suite in asked),
            f"{result.labels:,}",
            minutes(result.seconds),
            style="dim" if result.state == "missing" else "",
        )
    if asked:
        table.caption = "percent correct, before → after ± standard error had other problems been drawn; – not measured"
        table.caption_justify = "left"
    return table
