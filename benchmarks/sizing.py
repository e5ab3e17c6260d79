"""`python -m benchmarks.sizing`: what each step of the large recipes takes on each profile, as docs/sizing.md shows it.

Arithmetic and a simulation (`reasoning_pipeline/estimates`): seconds, no GPU, no download. Prints two tables, the
second of a step from one GPU to 64; `--write` puts them into docs/sizing.md, where a test holds them against this.
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
from reasoning_pipeline.estimates.lengths import Lengths
from reasoning_pipeline.estimates.scaling import Split, best_split
from reasoning_pipeline.estimates.shapes import hub_shape
from reasoning_pipeline.estimates.steps import StepEstimate, estimate_plan
from reasoning_pipeline.estimates.tasks import work_of
from reasoning_pipeline.hardware.profile import HardwareProfile, load_profile
from reasoning_pipeline.plan.graph import Plan
from reasoning_pipeline.plan.planner import make_plan
from reasoning_pipeline.recipe.reading import load_recipe

DOCUMENT = PROJECT / "docs" / "sizing.md"
BEGIN, END = "<!-- sizing -->\n", "<!-- /sizing -->"
SCALING_BEGIN, SCALING_END = "<!-- scaling -->\n", "<!-- /scaling -->"
SHOWN = ("main", "direct")
"""Arms whose steps are shown."""
SIZED = {
    "qwen3_0.6b_quickstart.yaml": ("one_gpu_80gb",),
    "qwen3_1.7b_math.yaml": ("node_8x80gb", "node_8x141gb", "two_nodes"),
    "qwen3_1.7b_from_14b.yaml": ("node_8x141gb",),
    "llama3_8b_from_70b.yaml": ("llama_70b",),
    "qwen3_8b_user_logs.yaml": ("two_gpus_80gb",),
}


PAIRS = (
    ("Qwen/Qwen3-1.7B", "Qwen/Qwen3-8B"),
    ("Qwen/Qwen3-4B", "Qwen/Qwen3-14B"),
    ("meta-llama/Llama-3.1-8B-Instruct", "meta-llama/Llama-3.3-70B-Instruct"),
)
"""(student, teacher)."""
GPUS = (1, 2, 4, 8, 16, 32, 64)
ROWS, PROMPT, LENGTHS = 512, 200.0, Lengths(2048, 16_384)
REMEDIES = {
    "decoding": "more servers, or tensor_parallel",
    "the longest rollout": "a lower limit or more rows a step; more GPUs write nothing sooner",
    "training": "more trainers",
    "the teacher's forward pass": "more trainers, or a smaller teacher",
}
ENOUGH_GAIN = 1.5
"""Twice the GPUs ought to make a step so many times as fast, or the layout has stopped scaling."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true")
    texts = {(BEGIN, END): table(), (SCALING_BEGIN, SCALING_END): scaling_table()}
    print("\n\n".join(texts.values()))
    if parser.parse_args().write:
        for (begin, end), text in texts.items():
            before, _, rest = DOCUMENT.read_text(encoding="utf-8").partition(begin)
            DOCUMENT.write_text(f"{before}{begin}\n{text}\n\n{end}{rest.partition(end)[2]}", encoding="utf-8")
    return 0


def scaling_table() -> str:
    """Markdown: an optimizer step of on-policy distillation on more and more GPUs."""
    lines = [
        "| student, teacher | GPUs | trainers | servers x tensor parallel | step s | written in | trained in | teacher "
        "| push | trainer, server idle | bound by |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for student, teacher in PAIRS:
        shapes = hub_shape(student), hub_shape(teacher)
        assert shapes[0] is not None and shapes[1] is not None
        where, before = f"{student.split('/')[-1]}, {teacher.split('/')[-1]}", None
        for gpus in GPUS:
            split = best_split(*shapes, gpus, rows=ROWS, lengths=LENGTHS, prompt=PROMPT)
            lines.append(f"| {where} | {gpus} | {_split_cells(split, before)} |")
            where, before = "", split
    return "\n".join(lines)


def _split_cells(split: Split | None, before: Split | None) -> str:
    if split is None:
        return "too small for the models | | | | | | | | "
    found = split.found
    servers = f"{split.servers} x {split.tensor_parallel}" + (", on the same GPUs" if split.colocated else "")
    bound = split.bound_by
    if before is not None and before.found.seconds < ENOUGH_GAIN * found.seconds:
        bound = f"**{bound}**: {REMEDIES[bound]}"
    seconds = " | ".join(f"{value:,.0f}" for value in (found.seconds, found.generating, found.training, split.teacher))
    idle = f"{found.trainer_idle:.0%}, {found.server_idle:.0%}"
    return f"{split.trainers} | {servers} | {seconds} | {split.pushing:.1f} | {idle} | {bound}"


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
