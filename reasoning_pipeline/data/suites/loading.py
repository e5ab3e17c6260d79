"""A suite's problems, ready to be asked, with a digest that notices a changed benchmark.

Scores on two copies of "MATH-500" that differ in a byte are scores on two benchmarks, so a changed row count or digest
stops the evaluation unless it is told that this is meant.
"""

from __future__ import annotations

import hashlib
import json
import unicodedata
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reasoning_pipeline.data.row_files import file_rows
from reasoning_pipeline.data.rows import Row, hub_rows, read_problem
from reasoning_pipeline.data.suites.spec import SuiteSpec, is_own_file, located, own_name, suite_names, suite_spec
from reasoning_pipeline.data.worlds import WORLDS
from reasoning_pipeline.errors import DataError
from reasoning_pipeline.records import Problem
from reasoning_pipeline.rewards.config import MATH, FormatReward, FunctionReward, RewardPart, is_math

if TYPE_CHECKING:
    from reasoning_pipeline.rewards.judge import RewardJudge

ID_DIGITS = 12
"""Of ids that are made from a question; the pinned digests hold such ids."""
ALLOW = "pass --allow-changed-data if this is meant; the score then belongs to these rows only"


@dataclass(frozen=True, kw_only=True)
class Suite:
    """Problems ready to be asked: golds canonical, unusable ones set aside and listed.

    Example:
        Suite(name="aime24", title="AIME 2024", problems=(...,), set_aside=(), rows=30, digest="9f2c...",
              source="aime24.jsonl", preset="qwen3-nonthinking", max_tokens={"qwen3-thinking": 38912}, notes=())
    """

    name: str
    title: str
    problems: tuple[Problem, ...]
    set_aside: tuple[tuple[str, str], ...]
    """(problem id, reason): references nobody can be judged against. Counted, never wrong answers."""
    rows: int
    """Rows of the whole benchmark, before `limited`."""
    digest: str
    source: str
    preset: str = "qwen3-nonthinking"
    max_tokens: dict[str, int]
    notes: tuple[str, ...] = ()
    known_issues: Mapping[str, str] = field(default_factory=dict)
    """By problem id: what is wrong with the published answer."""
    reward: tuple[RewardPart, ...] = MATH
    reward_files: dict[str, str] = field(default_factory=dict)

    def judge(self) -> RewardJudge | None:
        """What judges it; None for the verifier's two profiles, which judge where nothing else is said."""
        from reasoning_pipeline.rewards.judge import RewardJudge  # the verifier: a plan only looks at a suite

        return None if is_math(self.reward) else RewardJudge(self.reward, self.reward_files)

    def limited(self, count: int | None) -> Suite:
        """The first `count` problems; the digest stays that of the whole benchmark."""
        if count is None or count >= len(self.problems):
            return self
        note = f"limited to the first {count} of {len(self.problems)} problems"
        return replace(self, problems=self.problems[:count], notes=(*self.notes, note))


def load_suite(name: str, *, data: Path | None = None, allow_changed: bool = False, audit: bool = True) -> Suite:
    """A suite by name, or one's own JSONL by path; `data` replaces the source by a local file.

    `audit` asks the verifier whether each reference can be judged against at all and takes its canonical form.
    Raises DataError where the data cannot be used or is not the benchmark it is called.
    """
    if is_own_file(name):
        name, data = own_name(name), Path(name)
    spec, data = located(name, data)
    rows, source = suite_problems(name, spec, data), _source(name, spec, data)
    if not rows:
        raise DataError(f"{source}: no problems", remedy="give a file with at least one row")

    digest = data_digest(problem for _, problem in rows)
    notes: list[str] = []

    def objection(message: str) -> None:
        if not allow_changed:
            raise DataError(message, remedy=ALLOW)
        notes.append(message)

    if spec.rows is not None and len(rows) != spec.rows:
        objection(f"{source}: {name} has {spec.rows:,} rows, found {len(rows):,}")
    elif spec.digest is not None and spec.hub is not None and data is not None and digest != spec.digest:
        objection(f"{source}: not the {name} that was pinned (digest {digest[:12]}, expected {spec.digest[:12]})")
    elif spec.digest is not None and spec.generator is not None and data is None and digest != spec.digest:
        objection(f"{source}: the generator no longer makes the {name} that was pinned (digest {digest[:12]})")
    ids = {problem.id for _, problem in rows}
    known_issues = {issue: what for issue, what in spec.known_issues.items() if issue in ids}
    notes += [f"known issue: {issue}: {what}" for issue, what in known_issues.items()]
    found = _without_duplicates(rows, objection, refuse=spec.hub is None or data is not None)
    # A function of one's own may judge without a reference; the other kinds set such a row aside themselves.
    needed = not isinstance(spec.reward[0], FunctionReward | FormatReward)
    set_aside = [(problem.id, "empty answer") for problem in found if needed and not problem.answer]
    problems = [problem for problem in found if problem.answer or not needed]
    if audit:  # a plan reads suites and judges nothing
        from reasoning_pipeline.rewards.judge import RewardJudge

        audited = RewardJudge(spec.reward, spec.reward_files).usable(problems)
        problems, set_aside = list(audited.usable), set_aside + list(audited.set_aside)
    if not problems:
        example = ": ".join(set_aside[0])
        raise DataError(
            f"{source}: none of {len(rows):,} answers can be judged against ({example})",
            remedy="write final answers as LaTeX or plain numbers",
        )
    return Suite(
        name=name,
        title=spec.title,
        problems=tuple(problems),
        set_aside=tuple(set_aside),
        rows=len(rows),
        digest=digest,
        source=source,
        preset=spec.preset,
        max_tokens=spec.max_tokens,
        notes=tuple(notes),
        reward=spec.reward,
        reward_files=spec.reward_files,
        known_issues=known_issues,
    )


def is_pinned(name: str, digest: str, source: str) -> bool:
    """Whether rows with this digest, read from there, are those that the suite of this name was pinned with."""
    if name not in suite_names():
        return False
    spec = suite_spec(name)
    return digest == spec.digest or (spec.hub is not None and source == _source(name, spec, None))


def suite_problems(
    name: str, spec: SuiteSpec, data: Path | None, *, questions_only: bool = False
) -> list[tuple[str, Problem]]:
    """(place, problem) of every row, answers possibly empty. Raises DataError where the source cannot be read."""
    rows: Iterable[Row]
    if data is not None:
        rows = file_rows(data)
    elif spec.hub is not None:
        hub = spec.hub
        remedy = f"get the file elsewhere and pass --data {name}=FILE.jsonl (columns unique_id, problem, answer)"
        rows = hub_rows(hub.dataset, hub.config, hub.split, hub.revision, remedy=remedy)
    elif spec.generator is not None:
        its = spec.generator
        made = WORLDS[its.source].problems(its.split, its.count, its.seed, its.world)
        return [(f"problem {number}", problem) for number, problem in enumerate(made)]
    else:
        raise DataError(f"suite {name} has no source of its own", remedy=f"pass --data {name}=FILE.jsonl")
    options: dict[str, Any] = {"empty_answers": True, "questions_only": questions_only, "id_digits": ID_DIGITS}
    return [(place, read_problem(place, row, spec.columns, spec.answer, **options)) for place, row in rows]


def _source(name: str, spec: SuiteSpec, data: Path | None) -> str:
    if data is not None:
        return str(data)
    if spec.hub is not None:
        return f"hub:{spec.hub.dataset}@{spec.hub.revision}"
    return f"generated:{spec.generator.model_dump_json()}" if spec.generator is not None else name


def data_digest(problems: Iterable[Problem]) -> str:
    """sha256 over the sorted canonical (id, question, answer) rows: no matter the order, columns or white space.

    Taken before the verifier's audit, so that a new verifier never looks like a new benchmark.
    """
    lines = sorted(json.dumps([p.id, normal_space(p.question), p.answer], ensure_ascii=False) for p in problems)
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def normal_space(text: str) -> str:
    return " ".join(unicodedata.normalize("NFC", text).split())


def _without_duplicates(
    rows: list[tuple[str, Problem]], objection: Callable[[str], None], *, refuse: bool
) -> list[Problem]:
    """Problems once each. A repeated problem would count twice in the score and zero times in its error.

    Two rows with one id are always refused, since samples are stored by id. Repeated questions in a hub benchmark are
    part of that benchmark, so there they stay.
    """
    places: dict[str, str] = {}
    """By id."""
    by_text: dict[str, Problem] = {}
    kept = []
    for place, problem in rows:
        text = normal_space(problem.question)
        if problem.id in places and (by_text.get(text) is None or by_text[text].id != problem.id):
            raise DataError(
                f'{place}: the id "{problem.id}" is already that of {places[problem.id]}', remedy="make the ids unique"
            )
        if text in by_text and (refuse or problem.id in places):
            objection(f"{place}: the same problem as {places[by_text[text].id]}; it would be counted twice")
            continue
        places[problem.id], by_text[text] = place, problem
        kept.append(problem)
    return kept
