"""Why a step would run again: field by field against what was made before, and through which input.

A step is compared with the nearest artifact of its stage: made by a step of its name in a recipe of its name, else by
a step of its name, else by any; of several, the youngest. Where an input differs, that input's step is compared with
the artifact that was read then, and so on upstream, until something changed by itself.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

from reasoning_pipeline.data.problem_list import ProblemList, read_problem_list
from reasoning_pipeline.errors import PipelineError
from reasoning_pipeline.plan.graph import Plan, PlannedInput, PlannedStep
from reasoning_pipeline.registry.differences import Change, differences, shown
from reasoning_pipeline.registry.record import RECORD, read_values
from reasoning_pipeline.registry.store import REMOVED, Registry

State = Literal["complete", "removed", "never made", "differs"]

EVERYWHERE = ("stage", "inputs", "problems")
"""Parts of an identity that are told in their own words."""


@dataclass(frozen=True)
class Earlier:
    """An artifact to compare with; its record as plain JSON, which may be an older schema's."""

    name: str
    values: dict[str, Any]
    removed: bool

    @property
    def made_by(self) -> str:
        return f"{self.values.get('recipe')}/{self.values.get('step')}, {str(self.values.get('created'))[:10]}"


@dataclass(frozen=True)
class Reason:
    """Why one step would run, or that it would not.

    Example:
        Reason(step="distill", state="differs", earlier=Earlier("on_policy_distillation-3f2a…", {...}, removed=False),
               inputs={"policy": Reason(step="warmup", state="differs",
                                        changes=(Change("learning_rate", "0.001", "0.002"),))})
    """

    step: str
    output: str
    state: State
    earlier: Earlier | None = None
    changes: tuple[Change, ...] = ()
    """What changed in the step itself."""
    inputs: dict[str, Reason | Change] = field(default_factory=dict)
    """Field -> why that input is another one: a step of the plan, or a model from outside."""
    resumes: bool = False
    """It was begun, and goes on from its last resume point."""

    def roots(self) -> Iterator[tuple[tuple[str, ...], str, Change]]:
        """(fields that lead there, step, change) for everything that changed by itself, each once."""
        seen: set[tuple[str, Change]] = set()
        for path, step, change in self._roots(()):
            if (step, change) not in seen:
                seen.add((step, change))
                yield path, step, change

    def _roots(self, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], str, Change]]:
        for change in self.changes:
            yield path, self.step, change
        for name, cause in self.inputs.items():
            if isinstance(cause, Reason):
                yield from cause._roots((*path, name))
            else:
                yield path, self.step, cause


def why(plan: Plan, name: str) -> Reason:
    """Why a step of the plan would run. Reads records of its stage and of its ancestors'."""
    return _Explainer(plan).nearest(plan.step(name))


class _Explainer:
    def __init__(self, plan: Plan) -> None:
        self.plan, self.registry = plan, plan.registry
        self._by_stage: dict[str, list[Earlier]] = {}

    def nearest(self, step: PlannedStep) -> Reason:
        if step.complete:
            return Reason(step.name, step.output, "complete")
        removed = self._earlier(step.output)
        if removed is not None:
            return Reason(step.name, step.output, "removed", removed, resumes=self._begun(step))
        candidates = self._of_stage(step.config.stage)
        if not candidates:
            return Reason(step.name, step.output, "never made", resumes=self._begun(step))
        return self._against(step, max(candidates, key=lambda earlier: self._nearness(step, earlier)))

    def _nearness(self, step: PlannedStep, earlier: Earlier) -> tuple[bool, bool, bool, str, str]:
        values = earlier.values
        named, same = str(values.get("step")), values.get("recipe") == self.plan.recipe.name
        exactly, alike = named == step.name, self._base(named) == self._base(step.name)
        return exactly and same, exactly or alike, same, str(values.get("created")), earlier.name

    def _base(self, node: str) -> str:
        """A step's name without arm and seed; `distill.evaluate` stays whole, `no_warmup.distill` does not."""
        parts = re.sub(r"@\d+", "", node).split(".")
        names = {name for arm in self.plan.arms for name in arm.steps}
        tails = [".".join(parts[start:]) for start in range(len(parts))]
        return next((tail for tail in tails if any(f"{tail}.".startswith(f"{name}.") for name in names)), tails[-1])

    def _against(self, step: PlannedStep, earlier: Earlier) -> Reason:
        old, new = earlier.values.get("identity") or {}, step.identity
        changes = [
            change
            for part in dict.fromkeys((*old, *new))
            if part not in EVERYWHERE and not part.startswith("problems:")
            for change in differences(old.get(part, {}), new.get(part, {}), "" if part == "config" else part)
        ]
        changes += self._problem_changes(step, earlier)
        return Reason(
            step.name,
            step.output,
            "differs",
            earlier,
            tuple(_readable(change) for change in changes if not change.field.startswith("outside.")),
            self._input_changes(step, earlier, [c for c in changes if c.field.startswith("outside.")]),
            self._begun(step),
        )

    def _input_changes(self, step: PlannedStep, earlier: Earlier, outside: list[Change]) -> dict[str, Reason | Change]:
        old: dict[str, str] = (earlier.values.get("identity") or {}).get("inputs") or {}
        entries: dict[str, Any] = earlier.values.get("inputs") or {}
        found: dict[str, Reason | Change] = {}
        for entry in step.inputs:
            if old.get(entry.field) != entry.fingerprint:
                found[entry.field] = self._input_change(entry, entries.get(entry.field) or {}, outside)
        for name in old.keys() - {entry.field for entry in step.inputs}:
            found[name] = Change(name, str((entries.get(name) or {}).get("reference")), "–")
        return found

    def _input_change(self, entry: PlannedInput, old: dict[str, Any], outside: list[Change]) -> Reason | Change:
        was = self._earlier(str(old.get("artifact"))) if old.get("artifact") else None
        if entry.step is not None:
            step = self.plan.step(entry.step)
            if was is not None and was.values.get("stage") == step.config.stage:
                return self._against(step, was)
            if was is None and old.get("artifact"):
                return self.nearest(step) if not step.complete else _another(entry, old)
        parts = [c for c in outside if c.field.startswith(f"outside.{entry.field}.")]
        if parts and old.get("artifact") is None and entry.artifact is None:
            files = ", ".join(sorted({change.field.split(".", 2)[2] for change in parts}))
            return Change(f"{entry.field} ({entry.reference})", "", f"its {files} changed")
        return _another(entry, old)

    def _problem_changes(self, step: PlannedStep, earlier: Earlier) -> Iterator[Change]:
        old: dict[str, Any] = (earlier.values.get("identity") or {}).get("problems") or {}
        new: dict[str, Any] = step.identity.get("problems") or {}
        if (earlier.values.get("schema_version") or 1) < 2 and new:
            before = {k: v for k, v in earlier.values["identity"].items() if k.startswith("problems:")}
            yield Change("problems", f"{len(before)} digests of an older form", "cannot be compared")
            return
        for name in dict.fromkeys((*old, *new)):
            for pool in dict.fromkeys((*old.get(name, {}), *new.get(name, {}))):
                was, now = old.get(name, {}).get(pool), new.get(name, {}).get(pool)
                if was != now:
                    yield Change(f"{name}: problems of {pool}", _count(was), _count(now))
        if old != new:
            yield from self._single_problems(step, earlier)

    def _single_problems(self, step: PlannedStep, earlier: Earlier) -> Iterator[Change]:
        """Where the earlier artifact kept a list of its problems, which of them."""
        before = read_problem_list(self.registry.folder / earlier.name)
        if before is None:
            return
        for what, ids in ProblemList.of(step.problems()).since(before).items():
            examples = ", ".join(ids[:3]) + (", …" if len(ids) > 3 else "")
            yield Change(f"problems {what}", "", f"{len(ids):,} ({examples})")

    def _begun(self, step: PlannedStep) -> bool:
        return (self.registry.root / "work" / step.output / "checkpoints").is_dir()

    # Records, as they are found

    def _earlier(self, name: str) -> Earlier | None:
        for path, removed in (
            (self.registry.folder / name / RECORD, False),
            (self.registry.folder / REMOVED / f"{name}.json", True),
        ):
            if path.is_file():
                return Earlier(name, read_values(path, f"{path.parent.name}/{path.name}"), removed)
        return None

    def _of_stage(self, stage: str) -> list[Earlier]:
        if stage not in self._by_stage:
            self._by_stage[stage] = list(_scan(self.registry, stage))
        return self._by_stage[stage]


def _scan(registry: Registry, stage: str) -> Iterator[Earlier]:
    """Everything of a stage that is or was in the registry. A record that cannot be read explains nothing."""
    for folder, removed in ((registry.folder, False), (registry.folder / REMOVED, True)):
        names = os.listdir(folder) if folder.is_dir() else []
        for name in names:
            if name.rpartition("-")[0] != stage:
                continue
            path = folder / name if removed else folder / name / RECORD
            try:
                yield Earlier(name.removesuffix(".json"), read_values(path, f"{name}/{RECORD}"), removed)
            except PipelineError:
                continue


def _another(entry: PlannedInput, old: dict[str, Any]) -> Change:
    was = old.get("artifact") or old.get("reference") or "–"
    now = entry.artifact or entry.reference
    if was == now:
        was, now = f"{was} ({shown(str(old.get('fingerprint')))})", f"{now} ({shown(entry.fingerprint)})"
    return Change(entry.field, str(was), now)


def _count(problems: dict[str, Any] | None) -> str:
    if problems is None:
        return "–"
    return f"{problems['count']:,} ({problems['digest'][:8]})"


def _readable(change: Change) -> Change:
    field = change.field
    if field == "stage_version":
        return Change("the stage's version", change.old, change.new)
    if field.startswith("brings."):
        return Change(f"the {field.removeprefix('brings.').replace('_', ' ')} its code makes", change.old, change.new)
    if field.startswith("suite_files."):
        return Change(f"the file of suite {field.removeprefix('suite_files.')}", change.old, change.new)
    if field.startswith("files."):
        return Change(f"what the file of {field.removeprefix('files.')} holds", change.old, change.new)
    return change
