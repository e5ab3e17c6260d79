"""The published table: what arXiv 2605.12483 (version 1) prints for a Qwen3-1.7B student, as rows to compare arms with.

An arm of a recipe names its counterpart in `published`. Percent correct, avg@16, on MATH-500 (the paper's tables say
"MATH"; its appendix E says which), AIME 2024 and AIME 2025, 30 problems each. Labels are DAPO-Math-17K, whole (`full`)
or in two random halves (`half`): the first for teacher and bridge, the second for Stage 3.

On noise. Every figure is one training run. The paper prints a "±" which it calls the standard error over problems. In
the AIME columns it cannot be that: at a mean of 19.8 % on 30 problems with 16 samples the least possible value is 1.8
points, a realistic one 5 to 6.5, and 1.4 is printed. For MATH-500 a realistic one is 1.2 to 1.6 points, and 0.7 to 0.9
is printed. So the printed errors are not repeated here; `STANDARD_ERROR` is the middle of the realistic ranges.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import sqrt
from typing import Any, Literal

from pydantic import RootModel

from reasoning_pipeline.base.validation import suggestion
from reasoning_pipeline.recipe.sections import Section

PAPER = "arXiv 2605.12483"

STANDARD_ERROR = {"MATH-500": 1.4, "AIME24": 5.75}
"""Points, over problems, of one printed accuracy: an assumption of ours, not the paper's. With the ends of the range of
MATH-500, 1.2 and 1.6, no row's difference to `half_bridge_stage3` changes sides."""

NOISE = {benchmark: 1.96 * sqrt(2) * error for benchmark, error in STANDARD_ERROR.items()}
"""Points below which a difference of two rows is within noise. It treats the two as unpaired, although they answered
the same problems, and is an upper bound as far as problems go; of other training seeds it knows nothing."""


@dataclass(frozen=True, kw_only=True)
class PublishedRow:
    """One row of the paper's tables.

    Example:
        PublishedRow(what="bridge from the RL'd teacher, then Stage 3", teacher="8B, RL'd", labels="half",
                     stage3="second half", math500=78.5, aime24=23.7, aime25=18.5, table=4)
    """

    what: str
    teacher: str
    """Its size and how it was trained; `none` for reinforcement learning on the student alone."""
    labels: Literal["full", "half"]
    """What teacher RL and bridge were given (direct GRPO: the student)."""
    stage3: Literal["none", "second half", "first half again"]
    math500: float
    aime24: float
    aime25: float
    table: int
    """Where it is printed."""

    @property
    def source(self) -> str:
        return f"{PAPER}, table {self.table}"

    @property
    def protocol(self) -> str:
        """`half the labels, Stage 3 on the second half`."""
        stage3 = "no Stage 3" if self.stage3 == "none" else f"Stage 3 on the {self.stage3}"
        return f"{'all' if self.labels == 'full' else 'half the'} labels, {stage3}"


@dataclass(frozen=True, kw_only=True)
class PublishedDifference:
    """One row minus another, in points.

    Example:
        PublishedDifference(math500=-2.8, aime24=-2.1, same_protocol=False)
    """

    math500: float
    aime24: float
    same_protocol: bool
    """Whether labels are divided alike; else more than one thing differs between the rows."""

    @property
    def within_noise(self) -> bool:
        """Of MATH-500, as `NOISE` assumes."""
        return abs(self.math500) < NOISE["MATH-500"]


ROWS: dict[str, PublishedRow] = {
    # Tables 2 and 3: all labels, no Stage 3.
    "direct_grpo": PublishedRow(
        what="GRPO on the student", teacher="none", labels="full", stage3="none",
        math500=75.9, aime24=19.8, aime25=17.1, table=3,
    ),
    "raw_teacher_bridge": PublishedRow(
        what="bridge from a teacher without RL", teacher="8B, raw", labels="full", stage3="none",
        math500=71.5, aime24=15.0, aime25=10.6, table=3,
    ),
    "sft_teacher_bridge": PublishedRow(
        what="bridge from a teacher after SFT", teacher="8B, SFT", labels="full", stage3="none",
        math500=76.9, aime24=22.1, aime25=17.6, table=3,
    ),
    "bridge_full": PublishedRow(
        what="bridge from the RL'd teacher", teacher="8B, RL", labels="full", stage3="none",
        math500=79.3, aime24=25.2, aime25=20.2, table=3,
    ),
    "opd_only_full": PublishedRow(
        what="on-policy distillation without the warmup", teacher="8B, RL", labels="full", stage3="none",
        math500=77.6, aime24=23.0, aime25=18.9, table=3,
    ),
    "teacher_sft_full": PublishedRow(
        what="SFT on the teacher's samples instead of the bridge", teacher="8B, RL", labels="full", stage3="none",
        math500=76.0, aime24=22.4, aime25=19.4, table=3,
    ),
    "same_size_teacher_bridge": PublishedRow(
        what="bridge from an RL'd teacher of the student's size", teacher="1.7B, RL", labels="full", stage3="none",
        math500=76.5, aime24=20.6, aime25=17.1, table=3,
    ),
    # Tables 4 and 5: the first half for teacher and bridge.
    "half_bridge": PublishedRow(
        what="bridge from the RL'd teacher", teacher="8B, RL", labels="half", stage3="none",
        math500=75.4, aime24=22.0, aime25=16.7, table=4,
    ),
    "half_bridge_stage3": PublishedRow(
        what="the whole workflow: bridge, then Stage 3", teacher="8B, RL", labels="half", stage3="second half",
        math500=78.5, aime24=23.7, aime25=18.5, table=4,
    ),
    "half_replay": PublishedRow(
        what="Stage 3 on labels already spent", teacher="8B, RL", labels="half", stage3="first half again",
        math500=75.7, aime24=21.6, aime25=17.0, table=4,
    ),
    "half_sft_teacher_stage3": PublishedRow(
        what="the workflow with a teacher after SFT", teacher="8B, SFT", labels="half", stage3="second half",
        math500=77.2, aime24=22.9, aime25=18.4, table=5,
    ),
    # Table 6: what stands in the bridge's place, Stage 3 behind it.
    "half_opd_stage3": PublishedRow(
        what="no warmup, then Stage 3", teacher="8B, RL", labels="half", stage3="second half",
        math500=77.8, aime24=22.8, aime25=16.6, table=6,
    ),
    "half_sft_stage3": PublishedRow(
        what="SFT on the teacher's samples, then Stage 3", teacher="8B, RL", labels="half", stage3="second half",
        math500=77.3, aime24=22.5, aime25=16.9, table=6,
    ),
}  # fmt: skip


class Published(RootModel[str]):
    """A row's name in `ROWS`."""


class PublishedSection(Section):
    """`published:` in a recipe (of the main arm) and in an arm: the row of the published table that it is the
    counterpart of."""

    key = "published"
    model = Published
    in_arms = True

    def mark_problems(self, value: Published, place: str) -> Iterator[str]:
        if value.root not in ROWS:
            hint = suggestion(value.root, ROWS)
            yield f"{place}: the published table has no row {value.root!r}{hint} (rows: {', '.join(ROWS)})"


def row_of(sections: Mapping[str, Any]) -> str | None:
    """The row's name, from the sections of a recipe or of an arm."""
    marked: Published | None = sections.get(PublishedSection.key)
    return marked.root if marked is not None else None


def published_difference(row: str | None, main: str | None) -> PublishedDifference | None:
    """A row minus the row of the main arm; None where either is not published."""
    if row is None or main is None:
        return None
    ours, theirs = ROWS[row], ROWS[main]
    return PublishedDifference(
        math500=round(ours.math500 - theirs.math500, 1),
        aime24=round(ours.aime24 - theirs.aime24, 1),
        same_protocol=ours.labels == theirs.labels,
    )
