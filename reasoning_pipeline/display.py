"""Tables and trees on the terminal: the plan, the registry, one artifact with its lineage."""

from __future__ import annotations

from typing import Literal

from rich.console import Console
from rich.table import Table
from rich.tree import Tree

from reasoning_pipeline.errors import RegistryError
from reasoning_pipeline.hardware import HardwareProfile
from reasoning_pipeline.labels import distinct_labels
from reasoning_pipeline.plan import Plan, PlannedStep
from reasoning_pipeline.progress import summary
from reasoning_pipeline.recipe import STEP
from reasoning_pipeline.registry.store import Artifact, Registry
from reasoning_pipeline.validation import suggestion


def print_plan(plan: Plan, profile: HardwareProfile) -> None:
    """The steps in order, what each reads and spends, and what would run."""
    console = Console()
    table = Table(title=f"{plan.recipe.name} on {profile.name}", title_justify="left", box=None, pad_edge=False)
    for heading in ("", "step", "stage", "reads", "labels", "state"):
        justify: Literal["left", "right"] = "right" if heading in ("", "labels") else "left"
        table.add_column(heading, justify=justify, no_wrap=heading != "reads", overflow="fold")
    for number, step in enumerate(plan.steps, start=1):
        reads = ", ".join(f"{entry.field} {entry.reference.removeprefix(STEP)}" for entry in step.inputs)
        if step.prompts:
            reads += f", {step.prompts:,} questions"
        table.add_row(str(number), step.name, step.config.stage, reads, _labels(step), _state(plan, step))
    console.print(table)
    todo = [step for step in plan.steps if not step.complete]
    spent = {spend.pool: spend.labels for step in plan.steps for spend in step.spends}
    console.print(
        f"{len(plan.steps) - len(todo)} of {len(plan.steps)} steps complete; "
        + (f"{len(todo)} would run" if todo else "nothing to run")
        + f"\nlabels in play: {sum(spent.values()):,} ({', '.join(f'{p} {n:,}' for p, n in spent.items()) or 'none'})",
        highlight=False,
    )
    for name, suites in plan.ledger.left_out.items():
        for suite, overlaps in suites.items():
            count = len({overlap.train_id for overlap in overlaps})
            if count:
                console.print(f"left out of {name}: {count:,} problems that overlap {suite}", highlight=False)


def _labels(step: PlannedStep) -> str:
    return " + ".join(f"{spend.labels:,}{' again' if spend.replay else ''}" for spend in step.spends) or "–"


def _state(plan: Plan, step: PlannedStep) -> str:
    if step.complete:
        return "complete"
    if (plan.registry.root / "work" / step.output / "checkpoints").is_dir():
        return "would resume"
    return "would run"


def print_artifacts(registry: Registry, *, verify: bool) -> int:
    """Every artifact, oldest first. With `verify`, exit status 1 if any file differs from its record."""
    console = Console()
    table = Table(box=None, pad_edge=False)
    for heading in ("artifact", "made by", "reads", "labels", "result", *(["files"] if verify else [])):
        table.add_column(heading, overflow="fold", no_wrap=heading == "artifact")
    problems: list[str] = []
    artifacts = list(registry.artifacts())
    if not artifacts:
        console.print(f"nothing is published in {registry.folder} yet", highlight=False, markup=False, soft_wrap=True)
        return 0
    for artifact in artifacts:
        found = registry.verify(artifact) if verify else []
        problems += found
        record = artifact.record
        reads = ", ".join(entry.artifact or entry.reference for entry in record.inputs.values())
        row = [artifact.name, f"{record.recipe}/{record.step}", reads or "–", _spent(artifact)]
        files = [f"{len(found)} differ" if found else "ok"] if verify else []
        table.add_row(*row, summary(record.result)[2:], *files)
    console.print(table)
    for problem in problems:
        console.print(f"error: {problem}", style="red", highlight=False)
    return 1 if problems else 0


def print_artifact(registry: Registry, name: str, *, verify: bool) -> int:
    """One artifact: lineage as a tree, then its record's figures."""
    console = Console()
    artifacts = {artifact.name: artifact for artifact in registry.artifacts()}
    matches = [a for a in artifacts.values() if a.name.startswith(name) or a.record.step == name]
    if len(matches) != 1:
        found = ", ".join(a.name for a in matches) or "nothing"
        known = [*artifacts, *(a.record.step for a in artifacts.values())]
        raise RegistryError(
            f"{name!r} fits {found}{'' if matches else suggestion(name, known)}",
            remedy="`python -m reasoning_pipeline show` lists what there is",
        )
    artifact = matches[0]
    console.print(_lineage(artifact, artifacts))
    console.print(f"\nfolder   {artifact.folder}\ncreated  {artifact.record.created}", highlight=False, soft_wrap=True)
    for key, value in artifact.record.result.items():
        console.print(f"{key:<16} {value}", highlight=False, soft_wrap=True)
    problems = registry.verify(artifact) if verify else []
    for problem in problems:
        console.print(f"error: {problem}", style="red", highlight=False)
    return 1 if problems else 0


def _lineage(artifact: Artifact, artifacts: dict[str, Artifact]) -> Tree:
    record = artifact.record
    tree = Tree(f"[bold]{artifact.name}[/bold]  {record.recipe}/{record.step}{_spent(artifact, prefix='  labels: ')}")
    for field, entry in record.inputs.items():
        parent = artifacts.get(entry.artifact or "")
        if parent is None:
            tree.add(f"{field}: {entry.artifact or entry.reference}" + (" (not here)" if entry.artifact else ""))
        else:
            branch = _lineage(parent, artifacts)
            branch.label = f"{field}: {branch.label}"
            tree.add(branch)
    return tree


def _spent(artifact: Artifact, prefix: str = "") -> str:
    count = distinct_labels(artifact.record.label_spend)  # type: ignore[arg-type]
    return f"{prefix}{count:,}" if count else ("–" if not prefix else "")
