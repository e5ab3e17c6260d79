"""The chart of checkpoints: where each step started, where it came to, and how the last students compare."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from reasoning_pipeline.base.text import percent
from reasoning_pipeline.report.answers import Gain, paired_gain
from reasoning_pipeline.report.charts import Tick, accuracy_scale, percent_ticks
from reasoning_pipeline.report.results import ROLES, Accuracy, Role, StageResult, stage_results, with_error
from reasoning_pipeline.report.transcripts import AllAnswers, all_answers

if TYPE_CHECKING:
    from reasoning_pipeline.plan.graph import Plan


@dataclass(frozen=True, kw_only=True)
class Mark:
    """One checkpoint in the accuracy chart; positions in percent of the axis."""

    result: StageResult
    start: float | None
    at: float | None
    low: float | None
    high: float | None
    figure: str
    gain: str

    @property
    def bar(self) -> tuple[float, float] | None:
        """(from, width) of what the stage earned, or lost."""
        if self.start is None or self.at is None:
            return None
        return min(self.start, self.at), round(abs(self.at - self.start), 2)


@dataclass(frozen=True, kw_only=True)
class AccuracyChart:
    suite: str
    chains: tuple[tuple[Role, tuple[Mark, ...]], ...]
    ticks: tuple[Tick, ...]
    teacher: float | None
    """Where the trained teacher stands, drawn through the others' rows."""
    teacher_step: str
    caption: str


@dataclass(frozen=True, kw_only=True)
class Finding:
    """Example:
    Finding(suite="arithmetic", text="polish 89.6 %, direct 79.7 %, with 1,024 labels each: +10.0 ± 1.1 points")
    """

    suite: str
    text: str


def all_gains(plan: Plan) -> dict[tuple[str, str], Gain]:
    """(step, suite) -> what the step earned over its start, paired by problem."""
    return stage_gains(stage_results(plan), all_answers(plan))


def stage_gains(results: Iterable[StageResult], answers: AllAnswers) -> dict[tuple[str, str], Gain]:
    gains = {}
    for result in results:
        for suite in result.before.keys() & result.after.keys():
            before, after = answers.get((result.policy or "", suite)), answers.get((result.step, suite))
            gain = paired_gain(before, after) if before and after else None
            if gain is not None:
                gains[result.step, suite] = gain
    return gains


def signed(gain: Gain | None) -> str:
    """`+54.0 ± 1.3`, in points."""
    if gain is None:
        return "–"
    error = "" if not gain.se else f"\u00a0±\u00a0{100 * gain.se:.1f}"
    return f"{100 * gain.difference:+.1f}{error}".replace("-", "−")


def accuracy_chart(suite: str, results: list[StageResult], gains: dict[tuple[str, str], Gain]) -> AccuracyChart:
    measured = [r.after[suite] for r in results if suite in r.after]
    scale = accuracy_scale(max((a.high or a.mean for a in measured), default=1.0))

    def at(share: float | None) -> float | None:
        return None if share is None else scale.at(share)

    def mark(result: StageResult) -> Mark:
        before, after = result.before.get(suite), result.after.get(suite)
        gain = gains.get((result.step, suite))
        return Mark(
            result=result,
            start=at(before.mean) if before else None,
            at=at(after.mean) if after else None,
            low=at(after.low) if after else None,
            high=at(after.high) if after else None,
            figure=with_error(after) if after else ("not evaluated" if result.state == "complete" else "not run yet"),
            gain=signed(gain) if gain else "",
        )

    chains = ((role, tuple(mark(r) for r in results if r.role == role)) for role in ROLES)
    teacher = _last("teacher", suite, results)
    return AccuracyChart(
        suite=suite,
        chains=tuple((role, marks) for role, marks in chains if marks),
        ticks=percent_ticks(scale),
        teacher=at(teacher.after[suite].mean) if teacher else None,
        teacher_step=teacher.step if teacher else "",
        caption=_sampling(measured),
    )


def _sampling(measured: list[Accuracy]) -> str:
    """`500 problems × 4 samples`, where all checkpoints were asked alike."""
    asked = {(a.problems, a.samples) for a in measured if a.problems is not None}
    if len(asked) != 1:
        return ""
    problems, samples = asked.pop()
    return f"{problems:,} problems" + (f" × {samples} samples" if samples else "")


def _last(role: Role, suite: str, results: list[StageResult]) -> StageResult | None:
    """The last measured checkpoint of a chain that training, not its making, brought about."""
    return next((r for r in reversed(results) if r.role == role and r.policy is not None and suite in r.after), None)


def findings(suite: str, results: list[StageResult], answers: AllAnswers) -> Iterator[Finding]:
    """The comparison the run was made for: each student that nothing continues from against the baseline."""
    measured = [r for r in results if suite in r.after]
    if measured and all(r.after[suite].mean == 0 for r in measured):
        asked = _sampling([r.after[suite] for r in measured]) or "its problems"
        yield Finding(suite=suite, text=f"no checkpoint answered anything correctly ({asked})")
        return
    baseline = _last("baseline", suite, results)
    if baseline is None:
        return
    continued = {r.policy for r in results}
    for student in measured:
        if student.role == "student" and student.policy is not None and student.step not in continued:
            gain = paired_gain(answers[baseline.step, suite], answers[student.step, suite])
            if gain is not None:
                yield Finding(suite=suite, text=_compared(suite, student, baseline, gain))


def _compared(suite: str, student: StageResult, baseline: StageResult, gain: Gain) -> str:
    if student.labels == baseline.labels:
        labels = f"with {student.labels:,} labels each"
    else:
        labels = f"with {student.labels:,} and {baseline.labels:,} labels"
    noise = gain.se is not None and abs(gain.difference) < 2 * gain.se
    accuracies = ", ".join(f"{r.step} {percent(r.after[suite].mean)}\u00a0%" for r in (student, baseline))
    return f"{accuracies}, {labels}: {signed(gain)} points{', within noise' if noise else ''}"
