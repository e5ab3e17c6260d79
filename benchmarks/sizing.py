"""`python -m benchmarks.sizing`: what each step of the large recipes takes on each profile, as docs/sizing.md shows it.

Arithmetic alone (`reasoning_pipeline/estimates`): seconds, no GPU, no download. Prints a table; `--write` puts it into
docs/sizing.md, where a test holds it against this command.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from benchmarks.shared import PROJECT
from reasoning_pipeline.data.unread import SketchedPools
from reasoning_pipeline.errors import RecipeError
from reasoning_pipeline.estimates.layout import GIB
from reasoning_pipeline.estimates.steps import StepEstimate, estimate_plan
from reasoning_pipeline.estimates.tasks import work_of
from reasoning_pipeline.hardware.profile import HardwareProfile, load_profile
from reasoning_pipeline.plan.graph import Plan
from reasoning_pipeline.plan.planner import make_plan
from reasoning_pipeline.recipe.reading import load_recipe

DOCUMENT = PROJECT / "docs" / "sizing.md"
BEGIN, END = "<!-- sizing -->\n", "<!-- /sizing -->"
SHOWN = ("main", "direct")
"""Arms whose steps are shown."""
SIZED = {
    "qwen3_0.6b_quickstart.yaml": ("one_gpu_80gb",),
    "qwen3_1.7b_math.yaml": ("node_8x80gb", "node_8x141gb", "two_nodes"),
    "llama3_8b_from_70b.yaml": ("llama_70b",),
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true")
    text = table()
    print(text)
    if parser.parse_args().write:
        before, _, rest = DOCUMENT.read_text(encoding="utf-8").partition(BEGIN)
        DOCUMENT.write_text(f"{before}{BEGIN}\n{text}\n\n{END}{rest.partition(END)[2]}", encoding="utf-8")
    return 0


def table() -> str:
    """Markdown."""
    lines = [
        "| recipe, profile | step | stage | peak GiB, of | hours | hours, padded |",
        "|---|---|---|---|---|---|",
    ]
    for recipe, profiles in SIZED.items():
        for name in profiles:
            lines += rows(recipe, load_profile(name))
    return "\n".join(lines)


def rows(recipe: str, profile: HardwareProfile) -> Iterator[str]:
    with tempfile.TemporaryDirectory() as root:
        plan = make_plan(load_recipe(PROJECT / "recipes" / recipe), Path(root), (), SketchedPools)
        try:
            usual = estimate_plan(plan, profile)
        except RecipeError as error:
            yield f"| {Path(recipe).stem}, {profile.name} | | | {error.args[0]} | | |"
            return
        longest = estimate_plan(plan, profile, mean_completion=10**9)
    where = f"{Path(recipe).stem}, {profile.name}"
    for at, estimate in enumerate(usual):
        if estimate.trainer and any(arm in SHOWN for arm, _ in plan.steps[at].users):
            padded = estimate.hours and estimate.hours + extra_hours(plan, at, estimate, longest[at], profile)
            room = f"{profile.device_memory_gib:.0f}" if profile.device_memory_gib else "?"
            peak = f"{sum(estimate.trainer.values()) / GIB:.1f}, {room}" + (" (too large)" if estimate.problems else "")
            hours = [f"{value:.1f}" if value is not None else "" for value in (estimate.hours, padded)]
            yield f"| {where} | {estimate.step} | {plan.steps[at].config.stage} | {peak} | {' | '.join(hours)} |"
            where = ""


def extra_hours(plan: Plan, at: int, usual: StepEstimate, longest: StepEstimate, profile: HardwareProfile) -> float:
    """Of passes whose rows are all as long as the longest allowed; writing them takes no longer for that."""
    work = work_of(plan, plan.steps[at])
    if work is None or profile.peak_tflops is None:
        return 0.0
    speed = profile.processes * profile.peak_tflops * 1e12 * profile.utilisation
    return (longest.flops - usual.flops) / speed / 3600


if __name__ == "__main__":
    sys.exit(main())
