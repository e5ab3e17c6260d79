"""What reasoning recipes have on the page: the two conditions, and the published table beside the arms."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from reasoning_pipeline.base.files import shipped
from reasoning_pipeline.plan.graph import Plan, PlannedArm
from reasoning_pipeline.recipe.model import MAIN
from reasoning_pipeline.report.parts import Beside, PagePart, PageSection, Table
from reasoning_pipeline.report.strips import SeedChart
from reasoning_pipeline.workflows.reasoning.gates.over_seeds import condition_charts, condition_values
from reasoning_pipeline.workflows.reasoning.gates.page import gate_section
from reasoning_pipeline.workflows.reasoning.published import PAPER, published_difference, row_of

CONDITION_COLUMNS = ("figure", "where", "step", "mean", "least", "largest", "seeds", "by_seed")


class ReasoningPart(PagePart):
    templates: ClassVar[Path | None] = shipped("reasoning_pipeline.workflows.reasoning", "templates")
    strips_about: ClassVar[str] = (
        "The workflow rests on two conditions: <b>C1</b>, the teacher has gained from its reward; <b>C2</b>, the "
        "student is near the teacher before it is corrected token by token."
    )
    strips_note: ClassVar[str] = "KL on a logarithmic axis, on what the student writes."
    beside_title: ClassVar[str] = "paper: MATH-500 / AIME24"
    beside_note: ClassVar[str] = (
        f"\"Paper\": {PAPER}, the arm's row minus the main arm's, on MATH-500; only sign and order can be compared. "
        "Its noise is an assumption that <code>compare-paper</code> states; * labels are divided otherwise there."
    )
    meanings: ClassVar[Mapping[str, str]] = {
        "Stage 1": "reinforcement learning of the teacher on checked answers",
        "Stage 2": "the bridge from teacher to student",
        "Stage 2a": "the warmup on what the teacher wrote",
        "Stage 2b": "the student writes, the teacher corrects every token",
        "Stage 3": "reinforcement learning of the student on labels not spent before",
    }

    def sections(self, plan: Plan) -> Iterator[PageSection]:
        if (content := gate_section(plan)) is not None:
            yield PageSection(anchor="gates", title="Conditions", template="gates.html.j2", content=content)

    def strips(self, plan: Plan, arms: Sequence[PlannedArm]) -> Iterator[SeedChart]:
        return condition_charts(condition_values(plan, arms))

    def tables(self, plan: Plan) -> Iterator[Table]:
        """C1 and C2 of the main arm: one row per figure and place of the pipeline, over the seeds that have it."""
        rows = []
        for figure, places in condition_values(plan, [arm for arm in plan.arms if arm.name == MAIN]).items():
            for (where, step), values in places.items():
                by_seed = " ".join(f"{value:.6g}" for value in values)
                span = (sum(values) / len(values), min(values), max(values), len(values), by_seed)
                rows.append(dict(zip(CONDITION_COLUMNS, (figure, where, step, *span), strict=True)))
        yield Table(name="conditions", columns=CONDITION_COLUMNS, rows=tuple(rows))

    def beside(self, arm: Mapping[str, Any], main: Mapping[str, Any]) -> Beside | None:
        found = published_difference(row_of(arm), row_of(main))
        if found is None or row_of(arm) == row_of(main):
            return None
        star, noise = "" if found.same_protocol else "*", ", within noise" if found.within_noise else ""
        long = f"{found.math500:+.1f} / {found.aime24:+.1f}{star}{noise}"
        return Beside(short=f"paper {found.math500:+.1f}".replace("-", "−"), long=long.replace("-", "−"))


CONTRIBUTES = (ReasoningPart(),)
