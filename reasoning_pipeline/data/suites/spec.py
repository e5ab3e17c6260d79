"""What a suite's YAML says: where its problems come from, how many, with which prompt. Read without the problems.

A suite is a file in this folder, by name. One's own is a file of rows given by path, or a YAML file as those here,
which names the rows (`file`), their columns and the reward that judges them.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, model_validator

from reasoning_pipeline.base.files import shipped
from reasoning_pipeline.base.jsonl import count_rows
from reasoning_pipeline.base.validation import readable_validation
from reasoning_pipeline.custom.naming import module_file
from reasoning_pipeline.data.arithmetic import DEFAULT, ArithmeticWorld, is_default
from reasoning_pipeline.data.row_files import file_rows, row_format
from reasoning_pipeline.data.rows import AnswerForm, Columns
from reasoning_pipeline.errors import DataError
from reasoning_pipeline.rewards.config import MATH, FunctionReward, Reward, named_files

SUITES_FOLDER = shipped("reasoning_pipeline.data", "suites")


class Hub(BaseModel):
    """A data set on the hub. The revision is a commit, so the bytes cannot change under it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    dataset: str
    """Its id on the hub."""
    config: str | None = None
    """Its configuration, where it has several."""
    revision: str = Field(pattern=r"^[0-9a-f]{40}$")
    """The commit, so that problems never change under a name."""
    split: str
    """The part that is asked."""


class Generator(BaseModel):
    """A split of a world made here; the same values always give the same problems."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    source: Literal["arithmetic", "word_problems"] = Field("arithmetic", exclude_if=lambda name: name == "arithmetic")
    """Which world."""
    split: Literal["pool", "test", "hard", "validation"]
    """Of its problems."""
    count: int = Field(ge=1)
    """Problems."""
    seed: int
    """Of the choice of problems."""
    world: ArithmeticWorld = Field(DEFAULT, exclude_if=is_default)
    """`arithmetic`: what the problems are made of, where it is not the demo's world."""


class SuiteSpec(BaseModel):
    """The content of a suite's YAML file."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    title: str
    """As tables and pages call it."""
    about: str = ""
    """What it asks, in a sentence."""
    hub: Hub | None = None
    """Where its problems come from, unless from a file or a generator."""
    generator: Generator | None = None
    """For problems that are made, not read."""
    file: str | None = None
    """Of one's own suite: its rows, beside the YAML or by a whole path, in any format of row_files.py."""
    reward: Reward = MATH
    """What judges its answers (docs/own_reward.md); a suite's accuracy is the mean of it."""
    reward_files: dict[str, str] = {}
    """Name -> file, relative to the YAML."""
    columns: Columns = Columns()
    """Names of its columns."""
    answer: AnswerForm = "as_is"
    """Where the final answer stands in the answer column."""
    rows: int | None = Field(default=None, ge=1)
    """How many problems it must have; another number is refused."""
    digest: str | None = Field(default=None, pattern=r"^[0-9a-f]{64}$")
    """`data_digest` of a local file's rows. The hub's rows are pinned by their revision, and may carry other ids."""
    known_issues: dict[str, str] = {}
    """Id -> what is wrong with the published answer. The answer stays as it was published; the score without these
    problems is told beside the score."""
    preset: str = "qwen3-nonthinking"
    """Sampling settings that it is published with (`evals --preset`)."""
    max_tokens: dict[str, int] = {}
    """Token limits that differ from the preset's, by preset (AIME with thinking: 38,912)."""

    @model_validator(mode="after")
    def _one_source(self) -> SuiteSpec:
        if sum(source is not None for source in (self.hub, self.generator, self.file)) > 1:
            raise ValueError("a suite has one source: `file`, `hub` or `generator`")
        return self

    @model_validator(mode="before")
    @classmethod
    def _functions_files(cls, values: Any) -> Any:
        return named_files(values)


@cache
def suite_names() -> tuple[str, ...]:
    return tuple(sorted(path.stem for path in SUITES_FOLDER.glob("*.yaml")))


def is_own_file(name: str) -> bool:
    """Whether a suite's name is the path of a file of one's own."""
    return row_format(Path(name)) is not None or is_yaml(name)


def is_yaml(name: str | Path) -> bool:
    return Path(name).suffix in (".yaml", ".yml")


def own_name(path: str) -> str:
    """What a file of one's own is called in records and tables. Raises DataError where a suite that ships is called so:
    its scores would be taken for that benchmark's."""
    name = Path(path.removesuffix(".gz")).stem
    if name in suite_names():
        raise DataError(
            f'{path}: the suite "{name}" ships, and its scores are those of its pinned rows',
            remedy="give your file another name; or say that it is a copy of that suite: "
            f"`data: {{{name}: {path}}}` in a recipe, `--suite {name} --data {name}={path}` for an evaluation",
        )
    return name


@cache
def suite_spec(name: str) -> SuiteSpec:
    """Of a suite that ships. Raises DataError where none has the name."""
    path = SUITES_FOLDER / f"{name}.yaml"
    if not path.is_file():
        raise DataError(
            f'no suite is called "{name}"',
            remedy=f"choose one of: {', '.join(suite_names())}; or give the path of a JSONL file of your own",
        )
    return _read(path)


def _read(path: Path) -> SuiteSpec:
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise DataError(f"{path}: not to be read as YAML ({error})", remedy="give a readable suite file") from None
    problems: list[str] = []
    spec = readable_validation(SuiteSpec, values, place="", problems=problems)
    if spec is None:
        listed = "\n".join(f"  - {problem}" for problem in problems)
        raise DataError(f"{path}: not a suite\n{listed}", remedy="docs/own_data.md says what a suite's file holds")
    return spec


def located(name: str, path: Path | None) -> tuple[SuiteSpec, Path | None]:
    """What is known of a suite, and the local file of its rows; None where they come from elsewhere.

    Args:
        path: A file of rows, or a YAML file that says where they are; None for the suite as it ships.

    Raises:
        DataError: No such suite, or a YAML file that is none.
    """
    if path is None:
        return suite_spec(name), None
    if not is_yaml(path):
        return spec_or_own(name), path
    spec = _read(path)
    files = {key: str(path.parent / Path(file).expanduser()) for key, file in spec.reward_files.items()}
    rows = path.parent / Path(spec.file).expanduser() if spec.file is not None else None
    return spec.model_copy(update={"reward_files": files}), rows


def files_of(path: str, folder: Path) -> dict[str, str]:
    """What -> file that a suite's YAML needs besides itself, relative to the same folder as `path`."""
    if not is_yaml(path):
        return {}
    spec = _read(folder / Path(path).expanduser())
    beside = Path(path).expanduser().parent
    found = {"rows": str(beside / Path(spec.file).expanduser())} if spec.file is not None else {}
    found |= {name: str(beside / Path(file).expanduser()) for name, file in spec.reward_files.items()}
    modules = {part.parts[0] for part in spec.reward if isinstance(part, FunctionReward)} - spec.reward_files.keys()
    return found | {name: str(origin) for name in sorted(modules) if (origin := module_file(name)) is not None}


@cache
def known_issues() -> dict[str, str]:
    """What is wrong with published answers, over all suites whose ids are made from the questions, so that a row of any
    file can be recognised."""
    return {name: what for suite in suite_names() for name, what in suite_spec(suite).known_issues.items()}


def spec_or_own(name: str) -> SuiteSpec:
    """Of a suite that ships, else what is assumed of a file of one's own."""
    return suite_spec(name) if name in suite_names() else SuiteSpec(title=name)


def suite_rows(name: str, path: Path | None) -> int:
    """How many problems a suite has: those of the local file where one is given, else what its YAML says; 0 where
    neither tells."""
    spec, rows = located(name, path) if path is not None and path.is_file() else (spec_or_own(name), None)
    if rows is not None and rows.is_file() and rows.suffix == ".jsonl":
        return count_rows(rows)
    return sum(1 for _ in file_rows(rows)) if rows is not None and rows.exists() else spec.rows or 0
