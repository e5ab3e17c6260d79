"""Two or more evaluations, problem by problem: `python -m evals compare A B [C ...]`.

A is the reference; every other run is compared with it. Only like is compared with like: a difference in prompt,
decoding, thinking mode, data or verifier would be read as a difference between models, so it is refused and named.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from reasoning_pipeline.base.command_line import Parser
from reasoning_pipeline.beside import EVALS
from reasoning_pipeline.errors import PipelineError
from reasoning_pipeline.statistics import pairs
from reasoning_pipeline.statistics.pairs import Paired
from reasoning_pipeline.statistics.scores import pool

from . import results
from .foreign import is_foreign, load_foreign
from .results import POOLED, EvaluationResult
from .summary import Summary, scored

MANNER = ("prompt", "first_prompt", "decoding", "data", "verifier", "profile")


class ComparisonError(PipelineError):
    """Runs that were not asked alike; names every difference."""

    exit_status = 2


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """One suite, run `b` against run `a`.

    Example:
        Comparison(suite="math500", a="warmup-31", b="distill-7c", mean_a=0.61, mean_b=0.67, paired=Paired(...))
    """

    suite: str
    a: str
    b: str
    mean_a: float
    mean_b: float
    paired: Paired

    def as_json(self) -> dict[str, Any]:
        return {**self.__dict__, "paired": self.paired.as_json()}


def compare_results(runs: Sequence[EvaluationResult], suites: Sequence[str] | None = None) -> list[Comparison]:
    """Every suite the runs share, each run after the first against the first, Holm-corrected within a suite.

    Raises ComparisonError, naming all differences of all suites at once.
    """
    first, *others = runs
    shared = [name for name in first.summaries if all(name in run.summaries for run in others)]
    names = list(suites) if suites else shared
    if missing := [name for name in names if name not in shared]:
        raise ComparisonError(
            f"not every run has the suite {', '.join(missing)}", remedy=f"they share: {_list(shared)}"
        )
    if not names:
        held = "; ".join(f"{run.folder}: {_list(run.summaries)}" for run in runs)
        raise ComparisonError(f"the runs share no suite ({held})", remedy="evaluate both on the same suite")
    objections = [
        f"{name}, {first.folder} and {other.folder}: {line}"
        for name in names
        for other in others
        for line in what_differs(first.summaries[name], other.summaries[name])
    ]
    if objections:
        raise ComparisonError(
            "these runs cannot be compared\n" + "\n".join(f"  - {line}" for line in objections),
            remedy="evaluate again with equal settings (`regrade RUN --write` where only the verifier differs)",
        )
    compared = [line for name in names for line in _compare_all(name, [run.summaries[name] for run in runs], runs)]
    for group in POOLED:
        if set(group) <= set(names) and all("+".join(group) in run.pooled for run in runs):
            compared += _compare_pooled(group, runs)
    return compared


def what_differs(a: Summary, b: Summary) -> list[str]:
    """Settings that would be mistaken for a difference between models. Seeds may differ: other samples of the same."""
    found = results.settings_that_differ(_without_seed(a.settings), _without_seed(b.settings), MANNER)
    if not any(line.startswith("data.") for line in found) and a.scores.keys() != b.scores.keys():
        found.append(f"problems: {len(a.scores)} and {len(b.scores)} (another --limit?)")
    return found


def _without_seed(settings: dict[str, Any]) -> dict[str, Any]:
    return {**settings, "decoding": {**settings["decoding"], "seed": None}}


def _compare_all(suite: str, summaries: Sequence[Summary], runs: Sequence[EvaluationResult]) -> list[Comparison]:
    return _against_first(suite, [scored(summary.scores) for summary in summaries], runs)


def _compare_pooled(group: Sequence[str], runs: Sequence[EvaluationResult]) -> list[Comparison]:
    pooled = [
        pool(*({f"{name}/{key}": row for key, row in scored(run.summaries[name].scores).items()} for name in group))
        for run in runs
    ]
    return _against_first("+".join(group), pooled, runs)


def _against_first(suite: str, scores: Sequence[Any], runs: Sequence[EvaluationResult]) -> list[Comparison]:
    try:
        tested = [pairs.compare(scores[0], other) for other in scores[1:]]
    except ValueError as error:
        raise ComparisonError(
            f"{suite}: {error}", remedy="look at the shares of unscored samples in both reports"
        ) from None
    corrected = pairs.holm([paired.p for paired in tested])
    return [
        Comparison(
            suite=suite,
            a=runs[0].checkpoint,
            b=run.checkpoint,
            mean_a=_mean(scores[0], other),
            mean_b=_mean(other, scores[0]),
            paired=replace(paired, p_holm=p),
        )
        for run, other, paired, p in zip(runs[1:], scores[1:], tested, corrected, strict=True)
    ]


def _mean(scores: dict[str, list[float]], other: dict[str, list[float]]) -> float:
    """avg@k over the problems that both could score, so that the two means and their difference agree."""
    means = [sum(row) / len(row) for name, row in scores.items() if row and other.get(name)]
    return sum(means) / len(means)


def _list(names: Any) -> str:
    return ", ".join(names) or "nothing"


def main(argv: Sequence[str]) -> int:
    parser = Parser(
        prog=f"{EVALS} compare",
        description="Compare evaluations problem by problem; the first is the reference.",
    )
    parser.add_argument(
        "runs",
        nargs="+",
        type=Path,
        metavar="RUN",
        help=f"folders written by `{EVALS} --out`; or samples_*.jsonl of lm-eval, details_*.parquet of lighteval",
    )
    parser.add_argument("--suite", action="append", help="only this suite (again for more)")
    parser.add_argument("--json", action="store_true", help="for programs")
    arguments = parser.parse_args(argv)
    if len(arguments.runs) < 2:
        parser.error("at least two runs, so that there is something to compare")
    compared = compare_results([_read(path) for path in arguments.runs], arguments.suite)
    if arguments.json:
        print(json.dumps([line.as_json() for line in compared], indent=1, ensure_ascii=False))
    else:
        print(text(compared))
    return 0


def _read(path: Path) -> EvaluationResult:
    return load_foreign(path) if is_foreign(path) else results.load(path)


def text(compared: Sequence[Comparison]) -> str:
    lines = []
    for line in compared:
        paired = line.paired
        holm = f", {paired.p_holm:.4f} after Holm" if paired.p_holm != paired.p else ""
        least = f"; would have seen {100 * paired.detectable:.1f} points" if paired.detectable else ""
        lines += [
            f"{line.suite}: {line.a} {100 * line.mean_a:.1f} → {line.b} {100 * line.mean_b:.1f}",
            f"  {100 * paired.difference:+.1f} points [{100 * paired.low:+.1f}, {100 * paired.high:+.1f}], "
            f"p {paired.p:.4f}{holm}; {paired.won} won, {paired.lost} lost, {paired.tied} tied "
            f"of {paired.problems} problems{least}",
        ]
    return "\n".join(lines)
