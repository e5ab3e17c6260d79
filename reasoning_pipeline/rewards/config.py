r"""What a recipe or a suite says of its reward.

reward: math                                   # the default: the verifier, 0 or 1
reward: {kind: exact, where: last_line}
reward: [math, {kind: format, weight: 0.1}]    # a weighted sum; the first says what is right
reward: my_rewards.py:brevity                  # a function of one's own
reward: [{kind: my_package.rewards:brevity, weight: 0.5, options: {words: 80}}, exact]
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, field_validator

from reasoning_pipeline.base.validation import suggestion
from reasoning_pipeline.custom.naming import FunctionName, module_digest, problems_of, without_files


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    weight: float = Field(1.0, allow_inf_nan=False)
    """What its value is multiplied by in the sum."""


class _Located(_Part):
    where: Literal["box", "last_line", "text"] = "box"
    r"""Where the final answer stands: in the last `\boxed{}`, on the last line, or the whole text (after thinking)."""
    after: str | None = Field(None, min_length=1)
    """The answer is what follows the last occurrence of this on its line, e.g. `Answer:`; goes before `where`."""


class MathReward(_Part):
    """The verifier's strict profile (docs/verifier.md): 1 for an equal answer, 0 for any other."""

    kind: Literal["math"] = "math"
    """Which rule judges."""


class ExactReward(_Located):
    """1 where the answer is the reference, letter by letter up to Unicode form and white space."""

    kind: Literal["exact"] = "exact"
    """Which rule judges."""
    ignore_case: bool = False
    """Whether `paris` is `Paris`."""


class ChoiceReward(_Located):
    """1 where the chosen letter is the reference's: `B`, `(b)`, `B. Paris`, `\\text{B}`."""

    kind: Literal["choice"] = "choice"
    """Which rule judges."""
    letters: str = Field("ABCDEFGHIJ", pattern=r"^[A-Z]{2,26}$")
    """Those that may be chosen."""


class NumericReward(_Located):
    """1 where the number is within a tolerance of the reference: `1,204.5`, `-3/4`, `2.5e-3`, `12 %` is 12."""

    kind: Literal["numeric"] = "numeric"
    """Which rule judges."""
    absolute: float = Field(0.0, ge=0, allow_inf_nan=False)
    """In the answer's own unit."""
    relative: float = Field(1e-9, ge=0, allow_inf_nan=False)
    """Of the reference's size; the larger of the two tolerances counts."""


class FormatReward(_Part):
    r"""1 where the text has the form asked for: it ended by itself and has a final `\boxed{}`; or matches `pattern`."""

    kind: Literal["format"] = "format"
    """Which rule judges."""
    pattern: str | None = None
    """A regular expression for the whole text; `.` takes line ends too."""

    @field_validator("pattern")
    @classmethod
    def _compiles(cls, pattern: str | None) -> str | None:
        try:
            re.compile(pattern or "")
        except (re.error, RecursionError, OverflowError) as error:
            raise ValueError(f"not a regular expression: {error}") from None
        return pattern


class FunctionReward(_Part):
    """A function of one's own (rewards/function.py has its signature)."""

    kind: Literal["function"] = "function"
    """Which rule judges."""
    function: str
    """`NAME:FUNCTION`; NAME is a key of the files beside it, or an importable module."""
    options: dict[str, Any] = {}
    """Handed to the function by name."""
    seconds: float = Field(10.0, gt=0, le=3600)
    """Of one call, which is one problem's rollouts. A call that takes longer is ended and its rollouts are worth
    nothing."""
    memory_mb: int = Field(4096, ge=64)
    """Address space of a worker process."""

    @property
    def parts(self) -> tuple[str, str]:
        """(file's key or module, function)."""
        source, _, name = self.function.rpartition(":")
        return source, name


RewardPart = Annotated[
    MathReward | ExactReward | ChoiceReward | NumericReward | FormatReward | FunctionReward,
    Field(discriminator="kind"),
]
KINDS = ("math", "exact", "choice", "numeric", "format")
MATH: tuple[RewardPart, ...] = (MathReward(),)
"""The default."""


def _listed(value: Any) -> Any:
    """Every way to write a reward as a list of mappings."""
    several = value if isinstance(value, list | tuple) else [value]
    if not several:
        raise ValueError("name at least one reward")
    return [_mapping(one) for one in several]


def _mapping(one: Any) -> Any:
    if isinstance(one, BaseModel):
        return one
    given = {"kind": one} if isinstance(one, str) else one
    if not isinstance(given, dict) or not isinstance(given.get("kind"), str):
        raise ValueError(
            f"a reward is one of {', '.join(KINDS)}, a function (`file.py:name`), or a mapping with `kind`"
        )
    kind = given["kind"]
    if ":" in kind:
        given = {**given, "kind": "function", "function": kind}
    elif kind == "function":
        if not isinstance(given.get("function"), str):
            raise ValueError("kind: function needs `function: file.py:name`")
    elif kind not in KINDS:
        file = " (a file needs the function's name: `file.py:name`)" if kind.endswith(".py") else ""
        raise ValueError(f"no reward is called {kind!r}{suggestion(kind, KINDS)}{file} (rewards: {', '.join(KINDS)})")
    if given["kind"] == "function" and FunctionName.parse(given["function"]) is None:
        raise ValueError(f"{given['function']!r} names no function; write `file.py:name` or `package.module:name`")
    return given


Reward = Annotated[tuple[RewardPart, ...], BeforeValidator(_listed)]
"""Parts of a weighted sum; the first says which answers are right."""


def is_math(reward: tuple[RewardPart, ...]) -> bool:
    """Whether nothing but the verifier judges: the default, left out of identities."""
    return reward == MATH


def named_files(values: Any, reward: str = "reward", files: str = "reward_files") -> Any:
    """What was written, with the functions' files under `files` and called by their stems in the reward.

    For a model's `before` validator, so that a file is found, digested and resolved as any other that a step names.
    """
    if not isinstance(values, dict) or reward not in values:
        return values
    found: dict[str, str] = dict(values.get(files) or {})
    parts = []
    try:
        listed = _listed(values[reward])
    except ValueError:
        return values  # the field itself says so, with its place
    for part in listed:
        given = part.model_dump() if isinstance(part, BaseModel) else dict(part)
        if given["kind"] == "function":
            given["function"], found = without_files(given["function"], found)
        parts.append(given)
    return {**values, reward: parts, **({files: found} if found else {})}


def brought(reward: tuple[RewardPart, ...], files: Mapping[str, str]) -> dict[str, str]:
    """Digests of the installed modules that a reward names: their part of an identity."""
    modules = {source for source, _ in _functions(reward) if source not in files}
    return {f"reward {module}": module_digest(module) or "" for module in sorted(modules)}


def reward_problems(reward: tuple[RewardPart, ...], files: Mapping[str, str], folder: Path) -> Iterator[str]:
    """What is wrong with the functions that a reward names, told without running them."""
    for source, name in _functions(reward):
        if source in files:
            yield from problems_of(folder / Path(files[source]).expanduser(), name)
        elif module_digest(source) is None:
            yield f"no module {source!r} can be imported here; a file beside the recipe is `{source}.py:{name}`"


def _functions(reward: tuple[RewardPart, ...]) -> list[tuple[str, str]]:
    return [part.parts for part in reward if isinstance(part, FunctionReward)]
