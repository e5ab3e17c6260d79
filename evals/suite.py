"""Suites: which problems, from where, how many, with which prompt, and a digest that notices a changed benchmark.

A suite is a YAML file in `reasoning_pipeline/data/suites/`; one's own problems are a JSONL file given by path. Scores
on two copies of "MATH-500" that differ in a byte are scores on two benchmarks, so a changed row count or digest stops
the evaluation unless it is told that this is meant.
"""

from __future__ import annotations

import hashlib
import json
import unicodedata
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from evals.sources import AnswerForm, Columns, Generator, Hub, Row, from_file, from_generator, from_hub
from reasoning_pipeline.base.files import shipped
from reasoning_pipeline.errors import DataError
from reasoning_pipeline.records import Problem

SUITES_FOLDER = shipped("reasoning_pipeline.data", "suites")
ALLOW = "pass --allow-changed-data if this is meant; the score then belongs to these rows only"


class SuiteSpec(BaseModel):
    """The content of a suite's YAML file."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    title: str
    about: str = ""
    hub: Hub | None = None
    generator: Generator | None = None
    columns: Columns = Columns()
    answer: AnswerForm = "as_is"
    """Where the final answer stands in the answer column."""
    rows: int | None = Field(default=None, ge=1)
    digest: str | None = Field(default=None, pattern=r"^[0-9a-f]{64}$")
    """`data_digest` of a local file's rows. The hub's rows are pinned by their revision, and may carry other ids."""
    preset: str = "qwen3-nonthinking"
    max_tokens: dict[str, int] = {}
    """Token limits that differ from the preset's, by preset (AIME with thinking: 38,912)."""

    @model_validator(mode="after")
    def _one_source(self) -> SuiteSpec:
        if self.hub is not None and self.generator is not None:
            raise ValueError("a suite has one source: `hub` or `generator`")
        return self


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

    def limited(self, count: int | None) -> Suite:
        """The first `count` problems; the digest stays that of the whole benchmark."""
        if count is None or count >= len(self.problems):
            return self
        note = f"limited to the first {count} of {len(self.problems)} problems"
        return replace(self, problems=self.problems[:count], notes=(*self.notes, note))


def suite_names() -> list[str]:
    return sorted(path.stem for path in SUITES_FOLDER.glob("*.yaml"))


def suite_spec(name: str) -> SuiteSpec:
    path = SUITES_FOLDER / f"{name}.yaml"
    if not path.is_file():
        raise DataError(
            f'no suite is called "{name}"',
            remedy=f"choose one of: {', '.join(suite_names())}; or give the path of a JSONL file of your own",
        )
    try:
        return SuiteSpec.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))
    except (yaml.YAMLError, ValidationError) as error:
        raise DataError(f"{path}: not a suite\n{error}", remedy="see the files beside it") from None


def load_suite(name: str, *, data: Path | None = None, allow_changed: bool = False, audit: bool = True) -> Suite:
    """A suite by name, or one's own JSONL by path; `data` replaces the source by a local file.

    `audit` asks the verifier whether each reference can be judged against at all and takes its canonical form.
    Raises DataError where the data cannot be used or is not the benchmark it is called.
    """
    own = name.endswith(".jsonl")
    path = Path(name) if own else data
    spec = SuiteSpec(title=Path(name).stem) if own else suite_spec(name)
    label = Path(name).stem if own else name
    if path is not None:
        rows, source = from_file(path, spec.columns, spec.answer), str(path)
    elif spec.hub is not None:
        rows = from_hub(spec.hub, spec.columns, spec.answer, suite=name)
        source = f"hub:{spec.hub.dataset}@{spec.hub.revision}"
    elif spec.generator is not None:
        rows, source = from_generator(spec.generator), f"generated:{spec.generator.model_dump_json()}"
    else:
        raise DataError(f"suite {name} has no source of its own", remedy=f"pass --data {name}=FILE.jsonl")
    if not rows:
        raise DataError(f"{source}: no problems", remedy="give a file with at least one row")

    digest = data_digest(rows)
    notes: list[str] = []

    def objection(message: str) -> None:
        if not allow_changed:
            raise DataError(message, remedy=ALLOW)
        notes.append(message)

    if spec.rows is not None and len(rows) != spec.rows:
        objection(f"{source}: {label} has {spec.rows:,} rows, found {len(rows):,}")
    elif spec.digest is not None and spec.hub is not None and path is not None and digest != spec.digest:
        objection(f"{source}: not the {label} that was pinned (digest {digest[:12]}, expected {spec.digest[:12]})")
    elif spec.digest is not None and spec.generator is not None and path is None and digest != spec.digest:
        objection(f"{source}: the generator no longer makes the {label} that was pinned (digest {digest[:12]})")
    rows = _without_duplicates(rows, objection, refuse=spec.hub is None or path is not None)
    set_aside = [(row.id, "empty answer") for row in rows if not row.answer]
    problems = [Problem(id=r.id, question=r.question, answer=r.answer, meta=r.meta) for r in rows if r.answer]
    if audit:
        from reasoning_pipeline.verifier import audit_references

        audited = audit_references(problems)
        problems, set_aside = list(audited.usable), set_aside + list(audited.set_aside)
    if not problems:
        example = ": ".join(set_aside[0])
        raise DataError(
            f"{source}: none of {len(rows):,} answers can be judged against ({example})",
            remedy="write final answers as LaTeX or plain numbers",
        )
    return Suite(
        name=label,
        title=spec.title,
        problems=tuple(problems),
        set_aside=tuple(set_aside),
        rows=len(rows),
        digest=digest,
        source=source,
        preset=spec.preset,
        max_tokens=spec.max_tokens,
        notes=tuple(notes),
    )


def data_digest(rows: Iterable[Row | Problem]) -> str:
    """sha256 over the sorted canonical (id, question, answer) rows: no matter the order, columns or white space.

    Taken before the verifier's audit, so that a new verifier never looks like a new benchmark.
    """
    lines = sorted(json.dumps([row.id, normal_space(row.question), row.answer], ensure_ascii=False) for row in rows)
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def normal_space(text: str) -> str:
    return " ".join(unicodedata.normalize("NFC", text).split())


def _without_duplicates(rows: list[Row], objection: Callable[[str], None], *, refuse: bool) -> list[Row]:
    """Rows once each. A repeated problem would count twice in the score and zero times in its error.

    Two rows with one id are always refused, since samples are stored by id. Repeated questions in a hub benchmark are
    part of that benchmark, so there they stay.
    """
    by_id: dict[str, Row] = {}
    by_text: dict[str, Row] = {}
    kept = []
    for row in rows:
        text = normal_space(row.question)
        if row.id in by_id and (by_text.get(text) is None or by_text[text].id != row.id):
            raise DataError(
                f'{row.place}: the id "{row.id}" is already that of {by_id[row.id].place}', remedy="make the ids unique"
            )
        if text in by_text and (refuse or row.id in by_id):
            objection(f"{row.place}: the same problem as {by_text[text].place}; it would be counted twice")
            continue
        by_id[row.id] = by_text[text] = row
        kept.append(row)
    return kept
