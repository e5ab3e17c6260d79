"""The map of when the workflow pays: cells declared in benchmarks/map.yaml, run in their order, a row a cell and arm.

    python -m benchmarks.map plan                                # the order, what is done, hours
    python -m benchmarks.map run --hours 2                       # the next cells; called again, it continues
    python -m benchmarks.map run --cells near_l256_t2_s25        # these alone

At each cell map_search.yaml tunes both arms on validation, map.yaml then runs them under other seeds on the test set,
and a probe measures what could be known before. All three are recipes like any other: steps that cells share are made
once.
A finished cell stands in docs/figures/map.csv and is not run again; rows of another definition are refused.
"""

from __future__ import annotations

import argparse
import csv
import os
import re
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import mean, median
from typing import TYPE_CHECKING, Any

from rich.console import Console

from benchmarks.map_cells import RECIPE, SEARCH, Cell, declared, definition, name_of, ordered, recipe_of
from benchmarks.shared import PROJECT, note_source
from reasoning_pipeline.errors import DataError, PipelineError, StepFailed, Stopped

if TYPE_CHECKING:
    from reasoning_pipeline.plan.graph import Plan, PlannedStep
    from reasoning_pipeline.recipe.model import Recipe
    from reasoning_pipeline.report.arms.outcomes import ArmResult

RESULTS = PROJECT / "docs" / "figures" / "map.csv"
ROOT = Path("runs/map")
ARMS = {"main": "workflow", "direct": "direct"}
"""Arm of the recipe -> what the map calls it."""


# ── running a cell ──────────────────────────────────────────────────────────────────────────────────────────────────


class Cells:
    """Runs and reads cells under one root."""

    def __init__(self, root: Path, hardware: str, console: Console) -> None:
        from reasoning_pipeline.hardware.profile import load_profile

        self.root, self.profile, self.console = root, load_profile(hardware), console
        self.declared = declared()

    def run(self, cell: Cell) -> list[dict[str, Any]]:
        """Search, comparison and probe; what is complete is not made again. The cell's rows."""
        search = self._run(recipe_of(cell, SEARCH))
        settings, chosen = self.chosen(search)
        recipe = recipe_of(cell, RECIPE, settings)
        plan = self._run(recipe)
        measured = self._run(self._probed(recipe))
        return self.rows(cell, plan, measured, chosen)

    def chosen(self, search: Plan) -> tuple[list[str], dict[str, str]]:
        """(`--set` of the best settings on validation, arm -> the name of its best setting)."""
        from reasoning_pipeline.report.arms.outcomes import arm_results

        results = arm_results(search)
        settings: list[str] = []
        names: dict[str, str] = {}
        for arm, tuned in self.declared.tuned.items():
            tried = [r for r in results if re.fullmatch(tuned.among, r.arm) and r.accuracy]
            best = max(tried, key=lambda r: next(iter(r.accuracy.values())).mean)
            steps = search.recipe.steps if best.arm == "main" else search.recipe.arms[best.arm].steps
            names[arm] = best.arm
            settings += [f"{tuned.into}.{field}={getattr(steps[tuned.step], field)}" for field in tuned.fields]
        return settings, names

    def _run(self, recipe: Recipe) -> Plan:
        from reasoning_pipeline.run.runner import Runner

        runner = Runner(recipe, self.profile, self.root, self.console, again="python -m benchmarks.map run")
        plan, _ = runner.run(arms=("all",), seeds=recipe.seeds)
        return plan

    def _probed(self, recipe: Recipe) -> Recipe:
        from reasoning_pipeline.workflows.reasoning.probe import probed

        return probed(recipe)

    def rows(self, cell: Cell, plan: Plan, measured: Plan, chosen: dict[str, str]) -> list[dict[str, Any]]:
        """One for each arm; docs/when_it_pays.md says what the columns are."""
        from reasoning_pipeline.report.answers import read_means
        from reasoning_pipeline.report.arms.outcomes import arm_results
        from reasoning_pipeline.workflows.reasoning.gates.over_seeds import condition_values
        from reasoning_pipeline.workflows.reasoning.probe import read_probe

        probes = [read_probe(measured, plan, read_means, seed) for seed in plan.seeds]
        conditions = condition_values(plan, [arm for arm in plan.arms if arm.name == "main"])
        distances = {step: mean(values) for (_, step), values in conditions["reverse_kl"].items()}
        results = {result.arm: result for result in arm_results(plan)}
        gain = next(iter(results["direct"].difference.values()))  # of direct GRPO over the workflow: turned round below
        known = {
            "cell": name_of(cell),
            **cell,
            "start": mean(probe.start for probe in probes),
            "mixed": mean(probe.mixed for probe in probes),
            "teacher_start": mean(probe.teacher_start for probe in probes),
            "kl_start": mean(probe.kl_start for probe in probes),
            "teacher_size": probes[0].teacher_size,
            "c1_gain": mean(value for values in conditions["gain"].values() for value in values),
            "kl_before": distances["student_base"],
            "kl_after": distances["warmup"],
            "gain": -gain.mean,
            "gain_low": -_known(gain.high),
            "gain_high": -_known(gain.low),
            "gain_p": gain.p,
            "gain_by_seed": " ".join(f"{-value:.6g}" for value in gain.by_seed),
            "definition": definition(),
        }
        return [{**known, **_arm_columns(results[arm], called, chosen[arm])} for arm, called in ARMS.items()]

    def left(self, cell: Cell, counted: set[str]) -> Counter[str]:
        """Stage -> optimizer steps (or whole steps) that a cell still needs beyond those in `counted`, which grows."""
        from reasoning_pipeline.plan.planner import make_plan

        found: Counter[str] = Counter()
        recipe = recipe_of(cell, RECIPE)
        for one in (recipe_of(cell, SEARCH), recipe, self._probed(recipe)):
            for step in make_plan(one, self.root, one.seeds).steps:
                if not step.complete and step.output not in counted:
                    counted.add(step.output)
                    found[step.config.stage] += _length(step)
        return found

    def pace(self) -> dict[str, float]:
        """Stage -> seconds, as `Declared.seconds`: measured in this root's registry where it can be."""
        from reasoning_pipeline.registry.store import Registry

        seen: dict[str, list[float]] = {}
        for artifact in Registry(self.root).artifacts():
            wall = artifact.record.provenance.get("wall_seconds")
            if wall:
                seen.setdefault(artifact.record.stage, []).append(wall / (artifact.record.config.get("steps") or 1))
        return {**self.declared.seconds, **{stage: median(values) for stage, values in seen.items()}}


def _known(value: float | None) -> float:
    return float("nan") if value is None else value


def _length(step: PlannedStep) -> int:
    return getattr(step.config, "steps", None) or 1


def _arm_columns(result: ArmResult, called: str, setting: str) -> dict[str, Any]:
    accuracy = next(iter(result.accuracy.values()))
    return {
        "arm": called,
        "setting": setting,
        "seeds": " ".join(map(str, result.seeds)),
        "problems": accuracy.problems,
        "mean": accuracy.mean,
        "low": accuracy.low,
        "high": accuracy.high,
        "by_seed": " ".join(f"{value:.6g}" for value in accuracy.by_seed),
        "labels_spent": result.labels,
        "cpu_minutes": 60 * result.after_base.cpu_hours if result.after_base is not None else None,
    }


# ── the file of results ─────────────────────────────────────────────────────────────────────────────────────────────


def read_rows(path: Path = RESULTS) -> list[dict[str, str]]:
    """Rows of the cells that were run; none where there is no file. Raises DataError for another definition's."""
    if not path.is_file():
        return []
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    if others := {row["cell"] for row in rows if row["definition"] != definition()}:
        raise DataError(
            f"{path}: {', '.join(sorted(others))} were run under another definition of the map",
            remedy="put map.yaml and both recipes back, or move the file away and run the cells anew",
        )
    return rows


def write_rows(rows: Sequence[dict[str, Any]], path: Path = RESULTS) -> None:
    temporary = path.with_suffix(".tmp")
    with temporary.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    temporary.replace(path)
    note_source(path, "python -m benchmarks.map run")


# ── the command ─────────────────────────────────────────────────────────────────────────────────────────────────────


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.map", description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(required=True)
    for name, function in (("plan", _plan), ("run", _run)):
        one = commands.add_parser(name)
        one.add_argument("--root", type=Path, default=ROOT, help=f"where registry and runs live (default: {ROOT})")
        one.add_argument("--hardware", default="cpu_side_by_side", metavar="PROFILE")
        one.add_argument("--cells", type=lambda text: text.split(","), metavar="NAME,NAME,…", help="these alone")
        one.add_argument("--out", type=Path, default=RESULTS, help=f"default: {RESULTS.relative_to(PROJECT)}")
        one.set_defaults(function=function)
        if name == "run":
            one.add_argument("--hours", type=float, help="ends then, in the middle of a cell if need be")
    arguments = parser.parse_args(argv)
    try:
        status: int = arguments.function(arguments)
        return status
    except PipelineError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_status


def _wanted(arguments: argparse.Namespace) -> list[Cell]:
    order = ordered(declared())
    if arguments.cells is None:
        return order
    names = {name_of(cell): cell for cell in order}
    if unknown := [name for name in arguments.cells if name not in names]:
        raise DataError(f"no cell is called {', '.join(unknown)}", remedy="`plan` lists them")
    return [names[name] for name in arguments.cells]


def _plan(arguments: argparse.Namespace) -> int:
    console = Console(highlight=False)
    cells = Cells(arguments.root, arguments.hardware, console)
    done, pace, counted, total = {row["cell"] for row in read_rows(arguments.out)}, cells.pace(), set[str](), 0.0
    console.print("hours of one process at a time; steps that cells share count where they come first")
    for number, cell in enumerate(_wanted(arguments), start=1):
        if name_of(cell) in done:
            console.print(f"{number:3} {name_of(cell):24} done")
            continue
        hours = sum(pace[stage] * length for stage, length in cells.left(cell, counted).items()) / 3600
        total += hours
        console.print(f"{number:3} {name_of(cell):24} {hours:5.2f} h   {total:6.2f} h together")
    side_by_side = cells.profile.parallel_steps
    console.print(f"{total:.1f} h of one process, {total / side_by_side:.1f} h with {side_by_side} side by side")
    return 0


def _run(arguments: argparse.Namespace) -> int:
    console = Console()
    cells, began = Cells(arguments.root, arguments.hardware, console), time.monotonic()
    rows: list[dict[str, Any]] = list(read_rows(arguments.out))
    done = {row["cell"] for row in rows}
    try:
        with _ending_after(arguments.hours):
            for cell in _wanted(arguments):
                if name_of(cell) in done:
                    continue
                console.rule(name_of(cell))
                try:
                    rows += cells.run(cell)
                except StepFailed as failed:  # a student that cannot be pretrained so far ends its cell, not the map
                    console.print(f"{name_of(cell)} has no result: {failed}", highlight=False)
                    continue
                write_rows(rows, arguments.out)
                took = (time.monotonic() - began) / 3600
                gain = 100 * float(rows[-1]["gain"])
                console.print(f"{name_of(cell)}: workflow {gain:+.1f} points over direct GRPO; {took:.2f} h so far")
    except Stopped:
        pass
    finished = {row["cell"] for row in rows}
    left = [name_of(cell) for cell in ordered(declared()) if name_of(cell) not in finished]
    console.print(f"{len(finished)} cells done, {len(left)} not run" + (f"; next: {left[0]}" if left else ""))
    return 0


@contextmanager
def _ending_after(hours: float | None) -> Iterator[None]:
    """Ends what runs as SIGTERM does: a resume point is saved, and the same command continues."""

    def stop(number: int, frame: object) -> None:
        raise Stopped("stopped", remedy="run the same command again to continue")

    before = signal.signal(signal.SIGTERM, stop)
    timer = threading.Timer(3600 * (hours or 0), os.kill, (os.getpid(), signal.SIGTERM))
    timer.daemon = True
    if hours is not None:
        timer.start()
    try:
        yield
    finally:
        timer.cancel()
        signal.signal(signal.SIGTERM, before)


if __name__ == "__main__":
    sys.exit(main())
