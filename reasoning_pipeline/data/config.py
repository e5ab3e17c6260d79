"""What a recipe says of its data: where the problems come from, the pools they are divided into, how they are put."""

from __future__ import annotations

from fractions import Fraction
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from reasoning_pipeline.base.validation import suggestion, texts
from reasoning_pipeline.custom.naming import FunctionName
from reasoning_pipeline.data.arithmetic import DEFAULT, ArithmeticWorld
from reasoning_pipeline.data.worlds import WORLDS


class IdsFile(BaseModel):
    """A pool that a file lists: one problem id a line."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    file: str
    """Relative paths start at the recipe's folder."""


class DataConfig(BaseModel):
    """One set of problems and the pools it is divided into."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    source: Literal["arithmetic", "word_problems", "jsonl", "file", "hub"]
    """Worlds made here (worlds.py); `jsonl` and `file` are local rows; `hub` a data set of the hub."""
    path: str | None = None
    """`jsonl`: the file. `file`: a .jsonl, .json, .csv (.gz behind it) or .parquet, or a folder that `datasets` saved.
    Relative paths start at the recipe's folder."""
    id: str | None = None
    """`hub`: data set id."""
    revision: str | None = None
    """`hub`: branch, tag or commit; the commit that was planned is recorded."""
    split: str = "train"
    """`hub`, and a saved folder: split. A world made here: train, validation, test or hard."""
    subset: str | None = None
    """`hub`: configuration of the data set."""
    count: int | None = Field(None, ge=1)
    """A world made here: how many problems. Elsewhere: keep only this many (by stable hash)."""
    seed: int | None = None
    """A world made here: the same problems under every seed of the recipe. null: each seed has problems of its own."""
    world: ArithmeticWorld = DEFAULT
    """`arithmetic`: what its problems are made of, where it is not the demo's world."""
    unusable_answers: Literal["refuse", "set_aside"] = "refuse"
    """What to do with a row whose answer is empty: an error that names it, or leave it out and count it."""
    benchmark_overlap: Literal["ngram", "exact", "keep"] = "ngram"
    """Problems that also stand in a suite of `evaluate` are left out and counted: by thirteen words in a row or the
    whole text (`ngram`), by the whole text alone (`exact`), or not at all (`keep`). pools.py says which suites can be
    looked at."""
    columns: dict[Literal["id", "question", "answer"], str | None] = {}
    """Names of the columns where they differ from id, question (or problem), answer; `extra.solution` and `messages.0`
    look inside a value. A question may be a list of messages. `answer: null` says that there are none: a reward of
    one's own then judges."""
    keep: dict[str, str] = {}
    """Further columns that rewards of one's own are handed: a list of names, or our name -> theirs."""
    map: str | None = None
    """`file.py:function` that makes of each row, a dict, another (or None, which leaves it out) before columns are
    looked for. Trusted code, run in a worker process whenever the data is read."""
    pools: dict[str, Fraction | IdsFile] = {}
    """Pool name -> share of the problems ("3/4") or `{file: ids.txt}`; pools of one data set never overlap. What files
    name is taken first, and shares divide the rest, as pools.py says."""

    @property
    def varies_with_seed(self) -> bool:
        """Whether a recipe's seed decides which problems these are: only for the world that is made, not read."""
        world = WORLDS.get(self.source)
        return world is not None and self.seed is None and self.split not in world.fixed

    @field_validator("keep", mode="before")
    @classmethod
    def _names(cls, value: Any) -> Any:
        named = {name: name for name in texts(value)} if isinstance(value, str | list) else value
        if isinstance(named, dict) and (taken := {"id", "question", "answer"} & set(named)):
            raise ValueError(f"{', '.join(sorted(taken))}: handed to rewards by itself; name further columns only")
        return named

    @field_validator("map")
    @classmethod
    def _names_a_function(cls, value: str | None) -> str | None:
        if value is not None and FunctionName.parse(value) is None:
            raise ValueError("write `file.py:function` or `package.module:function`")
        return value

    @field_validator("pools", mode="before")
    @classmethod
    def _shares_or_files(cls, value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        shares: dict[str, Any] = {}
        for name, share in value.items():
            if isinstance(share, dict):
                if set(share) != {"file"} or not isinstance(share["file"], str):
                    raise ValueError(f"the pool {name!r} is a share such as 3/4, or {{file: ids.txt}}")
                shares[name] = IdsFile(file=share["file"])
                continue
            try:
                shares[name] = Fraction(str(share))
            except (ValueError, ZeroDivisionError):
                raise ValueError(f"the share of {name!r} must be a number or a fraction such as 3/4") from None
        return shares

    @model_validator(mode="after")
    def _complete(self) -> DataConfig:
        needed = {"jsonl": "path", "file": "path", "hub": "id"}.get(self.source, "count")
        if getattr(self, needed) is None:
            raise ValueError(f"source {self.source!r} needs `{needed}`")
        if self.source != "arithmetic" and self.world != DEFAULT:
            raise ValueError("`world` is the arithmetic world's; these problems are read, not made")
        if self.source not in WORLDS and self.seed is not None:
            raise ValueError("`seed` is for worlds made here; these problems are read")
        if (made := WORLDS.get(self.source)) is not None:
            name = self.source
            if self.map or self.keep or self.columns:
                raise ValueError(f"the {name} world has no columns; `map`, `keep` and `columns` are for rows")
            if self.split not in ("train", *made.splits):
                raise ValueError(f"no split is called {self.split!r}{suggestion(self.split, made.splits)}")
            if (self.count or 0) > made.most:
                raise ValueError(f"the {name} world has at most {made.most:,} problems (got {self.count:,})")
        shares = [share for share in self.pools.values() if isinstance(share, Fraction)]
        if sum(shares) > 1:
            raise ValueError(f"the pools' shares add up to {sum(shares)}, more than the whole")
        if any(share <= 0 for share in shares):
            raise ValueError("a pool's share must be above 0")
        return self


class PromptConfig(BaseModel):
    """How a question is put to a model; part of a recipe, the same for every step and every evaluation of it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    suffix: str = ""
    """Appended to the question: "\\n\\nPlease reason step by step, and put your final answer within \\\\boxed{}."."""
    system: str | None = None
    """Message before the question, for templates that take one."""
    thinking: bool = False
    """Passed to the template as `enable_thinking`; Qwen3's hybrid models behave as two different models."""
