"""From samples to a summary: what a suite's result says, in one JSON that travels with its settings."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from reasoning_pipeline.data.suites.loading import Suite
from reasoning_pipeline.records import Problem
from reasoning_pipeline.statistics.scores import Estimate, curve_points, estimate, maj_at_k, pass_curve

from .samples import NO_ANSWER, Sample

Scores = dict[str, list[float | None]]
"""Per problem id one score a sample: 1.0, 0.0, or None where nothing could be judged."""


@dataclass(frozen=True, kw_only=True)
class Summary:
    """One suite on one checkpoint. Shares are of 1; lengths are in tokens.

    Example:
        Summary(suite="aime24", title="AIME 2024", checkpoint="extra_rl-9f12", profile="lenient", samples=16,
                score=Estimate(mean=0.25, ...), scores={"aime2024/I/01": [1.0, 0.0, ...]}, pass_at={1: 0.25, 16: 0.6},
                maj_at={16: 0.3}, statuses={"correct": 120, "wrong": 340, "truncated": 20},
                shares={"truncated": 0.04, ...}, lengths={"all": {"mean": 812.0, ...}}, ...)
    """

    suite: str
    title: str
    checkpoint: str
    profile: str
    samples: int
    """Samples asked of every problem."""
    score: Estimate | None
    """avg@k with its errors; None where not one sample could be scored."""
    scores: Scores
    strict_mean: float | None
    """The same samples under the rules of training's reward."""
    lenient_mean: float | None
    disagreements: int
    """Samples that one profile pays and the other does not."""
    pass_at: dict[int, float]
    maj_at: dict[int, float]
    statuses: dict[str, int]
    shares: dict[str, float]
    """truncated (ended by the token limit), no_answer, timeout, error, unscored: of all samples.
    set_aside: references that cannot be judged against, of all problems."""
    lengths: dict[str, dict[str, float]]
    """mean, median, p95, max of tokens, for: all, right, wrong, truncated (where there are any)."""
    groups: dict[str, dict[str, Estimate]]
    """By level, subject and other labels the data has. Cells are small: mind their intervals."""
    set_aside: list[tuple[str, str]]
    policy_versions: list[str]
    """More than one means that weights changed while the suite ran."""
    tokens: int
    notes: list[str] = field(default_factory=list)
    settings: dict[str, Any] = field(default_factory=dict)
    known_issues: dict[str, str] = field(default_factory=dict)
    """By problem id: what is wrong with the published answer, which the score is judged against all the same."""
    score_without_known_issues: Estimate | None = None
    """avg@k without those problems; None where there are none."""

    def as_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> Summary:
        fields = dict(record)
        for name in ("score", "score_without_known_issues"):
            fields[name] = Estimate(**fields[name]) if fields.get(name) else None
        fields["groups"] = {
            name: {value: Estimate(**cell) for value, cell in cells.items()} for name, cells in fields["groups"].items()
        }
        for name in ("pass_at", "maj_at"):
            fields[name] = {int(k): share for k, share in fields[name].items()}
        fields["set_aside"] = [(problem_id, reason) for problem_id, reason in fields["set_aside"]]
        return cls(**fields)


def summarise(
    suite: Suite,
    samples_of: Mapping[str, Sequence[Sample]],
    classes_of: Mapping[str, Sequence[int | None]],
    *,
    checkpoint: str,
    profile: str,
    samples: int,
    settings: dict[str, Any],
) -> Summary:
    """`samples_of` and `classes_of` hold each problem's samples, in order of their index."""
    scores: Scores = {name: [s.judged(profile).reward for s in row] for name, row in samples_of.items()}
    flat = [sample for row in samples_of.values() for sample in row]
    statuses = Counter(sample.judged(profile).status for sample in flat)
    counted = scored(scores)
    known_issues = {name: what for name, what in suite.known_issues.items() if name in counted}
    sound = [row for name, row in counted.items() if name not in known_issues]
    votes = [row for row in classes_of.values() if row]
    return Summary(
        suite=suite.name,
        title=suite.title,
        checkpoint=checkpoint,
        profile=profile,
        samples=samples,
        score=estimate(list(counted.values())),
        scores=scores,
        strict_mean=_mean_over_problems(samples_of, "strict"),
        lenient_mean=_mean_over_problems(samples_of, "lenient"),
        disagreements=sum((s.strict.status == "correct") != (s.lenient.status == "correct") for s in flat),
        pass_at=pass_curve(list(counted.values())),
        maj_at={k: maj_at_k(votes, k) for k in curve_points(min(map(len, votes), default=0))},
        statuses=dict(statuses.most_common()),
        shares={
            "truncated": _share(s.finish == "length" for s in flat),
            "no_answer": _share(s.judged(profile).status in NO_ANSWER for s in flat),
            "timeout": _share(s.judged(profile).status == "timeout" for s in flat),
            "error": _share(s.judged(profile).status == "error" for s in flat),
            "unscored": _share(s.judged(profile).reward is None for s in flat),
            "set_aside": len(suite.set_aside) / suite.rows,
        },
        lengths=_lengths(flat, profile),
        groups=_groups(suite.problems, counted),
        set_aside=list(suite.set_aside),
        policy_versions=sorted({sample.policy_version for sample in flat}),
        tokens=sum(sample.tokens for sample in flat),
        notes=list(suite.notes),
        settings=settings,
        known_issues=known_issues,
        score_without_known_issues=estimate(sound) if known_issues else None,
    )


def scored(scores: Mapping[str, Sequence[float | None]]) -> dict[str, list[float]]:
    """The same with a number for every sample: what could not be judged is worth nothing, and is counted beside it.

    References were audited before the first sample was drawn, so what is left is a matter of the answer. Were it left
    out, an answer that nothing can read would raise the score by leaving it.
    """
    return {name: [score or 0.0 for score in row] for name, row in scores.items()}


def _mean_over_problems(samples_of: Mapping[str, Sequence[Sample]], profile: str) -> float | None:
    rewards = scored({name: [s.judged(profile).reward for s in row] for name, row in samples_of.items()})
    means = [float(np.mean(row)) for row in rewards.values() if row]
    return float(np.mean(means)) if means else None


def _share(hits: Any) -> float:
    flags = list(hits)
    return sum(flags) / len(flags) if flags else 0.0


def _lengths(samples: Sequence[Sample], profile: str) -> dict[str, dict[str, float]]:
    parts = {
        "all": samples,
        "right": [s for s in samples if s.judged(profile).status == "correct"],
        "wrong": [s for s in samples if s.judged(profile).status != "correct"],
        "truncated": [s for s in samples if s.finish == "length"],
    }
    return {name: _spread([s.tokens for s in part]) for name, part in parts.items() if part}


def _spread(tokens: Sequence[int]) -> dict[str, float]:
    return {
        "samples": len(tokens),
        "mean": float(np.mean(tokens)),
        "median": float(np.median(tokens)),
        "p95": float(np.quantile(tokens, 0.95)),
        "max": float(max(tokens)),
    }


def _groups(problems: Sequence[Problem], scores: Mapping[str, Sequence[float]]) -> dict[str, dict[str, Estimate]]:
    """One table for every label with between 2 and 40 values; more would be an identifier and not a group."""
    tables: dict[str, dict[str, Estimate]] = {}
    names = dict.fromkeys(
        name for problem in problems for name, value in problem.meta.items() if isinstance(value, str | int)
    )
    for name in names:
        cells: dict[str, list[Sequence[float]]] = {}
        for problem in problems:
            if isinstance(value := problem.meta.get(name), str | int):
                cells.setdefault(str(value), []).append(scores.get(problem.id, ()))
        if 2 <= len(cells) <= 40:
            estimates = {value: estimate(cells[value]) for value in sorted(cells)}
            tables[name] = {value: cell for value, cell in estimates.items() if cell is not None}
    return tables
