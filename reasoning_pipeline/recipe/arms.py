"""Arms: variations of a recipe, each a small edit of its steps. docs/arms_and_labels.md has examples of every kind.

    arms:
      no_warmup: {drop: warmup}                                   # Stage 2b starts where the warmup would have started
      replay: {steps: {polish: {spends: first, replay: true}}}    # other labels for Stage 3
      direct: {steps: {grpo: {stage: sparse_grpo, policy: step:student_base, …}}, outcome: grpo}

An edit gives, in this order: the fields in `steps` lie over the recipe's own (as in `extends:`; another `stage`
replaces a step whole); whoever read the policy of a dropped step reads what that step would have started from; what
does not lead to the arm's outcome is no part of the arm. The outcome is the recipe's own, followed through the drops,
where the arm names none. An arm is a world of its own: labels are counted in its lineage alone.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

from reasoning_pipeline.base.validation import readable_validation, suggestion
from reasoning_pipeline.base.yaml_files import merged
from reasoning_pipeline.recipe.checks import searched_problems, step_problems
from reasoning_pipeline.recipe.model import MAIN, STEP, Arm, ArmEdit, Recipe, World
from reasoning_pipeline.recipe.sections import read_sections, sections
from reasoning_pipeline.recipe.stage import Input, StageConfig, can_answer, fields_marked

ALL = "all"
"""What `--arm` takes for every arm."""

ReadStep = Callable[[str, str, Any, list[str]], StageConfig | None]
"""(place, name, fields, problems) -> the step; reading.py reads the recipe's own steps with the same."""


def worlds(recipe: Recipe, seed: int) -> Iterator[World]:
    """The main arm and then the others, under one seed."""
    filled: dict[int, StageConfig] = {}

    def seeded(config: StageConfig) -> StageConfig:
        """The same object for the same step of two arms, so that a plan sees at once that they are equal."""
        if config.seed is not None:
            return config
        if id(config) not in filled:
            filled[id(config)] = config.model_copy(update={"seed": seed})
        return filled[id(config)]

    arms = {name: (arm.steps, arm.outcome) for name, arm in recipe.arms.items()}
    for name, (steps, outcome) in {MAIN: (recipe.steps, recipe.main_outcome), **arms}.items():
        filled_in = {step: seeded(config) for step, config in steps.items()}
        yield World(name, seed, recipe.model_copy(update={"steps": filled_in, "seed": seed}), outcome)


def derive_arms(raw_arms: Any, recipe: Recipe, raw_steps: dict[str, Any], read: ReadStep, problems: list[str]) -> None:
    """Fill `recipe.arms` from what stands in the file; what is wrong is appended to `problems`, naming the arm."""
    if raw_arms is not None and not isinstance(raw_arms, dict):
        problems.append("arms: expected a mapping of arm names")
        return
    problems += searched_problems(recipe, [MAIN, *map(str, raw_arms or ())])
    if raw_arms is None:
        return
    common = set(step_problems(recipe, list(raw_steps)))
    known = [section.key for section in sections() if section.in_arms]
    for name, raw in raw_arms.items():
        place = f"arms.{name}"
        if (wrong := _name_problem(str(name), raw_steps)) is not None:
            problems.append(f"{place}: {wrong}")
        elif not isinstance(raw, dict):
            problems.append(f"{place}: expected drop, steps or outcome, found {type(raw).__name__}")
        else:
            own, found = dict(raw), list[str]()
            marks = read_sections(own, found, place, arm=True)
            edit = readable_validation(ArmEdit, own, place=place, problems=found, known=known)
            arm = _Derivation(place, edit, recipe, raw_steps, read, found).arm() if edit is not None else None
            if arm is not None:
                arm = arm.model_copy(update={"sections": marks})
                inside = recipe.model_copy(update={"steps": arm.steps})
                # What is wrong in the recipe's own steps is said there, once.
                found += [f"{place}.{p}" for p in step_problems(inside, list(arm.steps)) if p not in common]
                recipe.arms[str(name)] = arm
            problems += found


def _name_problem(name: str, raw_steps: dict[str, Any]) -> str | None:
    if not re.fullmatch(r"[A-Za-z0-9_-]+", name):
        return "an arm's name is made of letters, digits, '_' and '-'"
    if name in (MAIN, ALL):
        return f"{name!r} means {'the recipe itself' if name == MAIN else 'every arm'}; choose another name"
    if name in raw_steps:  # ARM.STEP and STEP.evaluate would be confused
        return "a step has this name; choose another"
    return None


class _Derivation:
    """One edit on its way to an arm."""

    def __init__(
        self,
        place: str,
        edit: ArmEdit,
        recipe: Recipe,
        raw_steps: dict[str, Any],
        read: ReadStep,
        problems: list[str],
    ) -> None:
        self.place, self.edit, self.recipe, self.raw_steps = place, edit, recipe, raw_steps
        self.read, self.problems = read, problems

    def arm(self) -> Arm | None:
        """None where the edit does not give one; `problems` then says why."""
        self._check_names()
        steps = dict(self.recipe.steps)
        for name, fields in self.edit.steps.items():
            config = self.read(f"{self.place}.steps.{name}", name, self._fields(name, fields), self.problems)
            if config is not None:
                steps[name] = config
        starts = {name: getattr(steps[name], "policy", None) for name in self.edit.drop if name in steps}
        kept = {name: _rewired(config, starts) for name, config in steps.items() if name not in starts}
        outcome = self._outcome(kept, starts)
        if self.problems or outcome is None:
            return None
        ordered = self._leading_to(outcome, kept, starts)
        if ordered is None:
            return None
        for name in self.edit.steps:
            if name not in ordered:
                self.problems.append(
                    f"{self.place}.steps.{name}: nothing that leads to the arm's outcome {outcome!r} reads this step; "
                    f"let a step read it, or say `outcome: {name}`"
                )
        if self.problems:
            return None
        return Arm(
            **self.edit.model_dump(include={"description", "lacks", "curve"}),
            steps={name: kept[name] for name in ordered},
            outcome=outcome,
        )

    def _check_names(self) -> None:
        for name in self.edit.drop:
            if name not in self.raw_steps:
                hint = suggestion(name, self.raw_steps)
                self.problems.append(f"{self.place}.drop: no step is called {name!r}{hint}")
            elif name in self.edit.steps:
                self.problems.append(f"{self.place}.steps.{name}: the arm drops this step")

    def _fields(self, name: str, fields: dict[str, Any]) -> Any:
        own = self.raw_steps.get(name)
        if name not in self.raw_steps and "stage" not in fields and (hint := suggestion(name, self.raw_steps)):
            self.problems.append(f"{self.place}.steps.{name}: the recipe has no such step{hint}")
        if not isinstance(own, dict) or fields.get("stage", own.get("stage")) != own.get("stage"):
            return fields
        return merged(own, fields)

    def _outcome(self, kept: dict[str, StageConfig], starts: dict[str, str | None]) -> str | None:
        named = self.edit.outcome
        if named is not None:
            if named not in kept:
                where = "is dropped" if named in starts else f"is no step{suggestion(named, kept)}"
                self.problems.append(f"{self.place}.outcome: {named!r} {where}")
            elif not can_answer(kept[named]):
                publishes = type(kept[named]).publishes
                self.problems.append(f"{self.place}.outcome: {named!r} publishes {publishes}, not a checkpoint")
            return named
        name = self.recipe.main_outcome
        reference = _followed(STEP + name, starts) if name is not None else None
        if reference is None or not reference.startswith(STEP) or reference.removeprefix(STEP) not in kept:
            if not self.problems:
                self.problems.append(f"{self.place}: nothing is left of its outcome; name one in `outcome`")
            return None
        return reference.removeprefix(STEP)

    def _leading_to(
        self, outcome: str, kept: dict[str, StageConfig], starts: dict[str, str | None]
    ) -> list[str] | None:
        """The outcome and what it comes from, each step behind what it reads, else in the recipe's order."""
        needed, waiting = {outcome}, [outcome]
        while waiting:
            for target in _targets(kept[waiting.pop()]):
                if target in kept and target not in needed:
                    needed.add(target)
                    waiting.append(target)
        lost = [(name, target) for name in sorted(needed) for target in sorted(_targets(kept[name]) - kept.keys())]
        for name, target in lost:
            if target in starts:
                self.problems.append(
                    f"{self.place}.drop: {name!r} reads {target!r}, which started from no policy that could stand in "
                    f"its place; say in `steps` what {name!r} reads instead"
                )
            elif name not in self.recipe.steps or target not in _targets(self.recipe.steps[name]):
                # else it is a mistake of the recipe's own step, and said there
                hint = suggestion(target, kept, prefix=STEP)
                self.problems.append(f"{self.place}.steps.{name}: {STEP + target!r} is no step of this arm{hint}")
        if lost:
            return None
        ordered: list[str] = []
        left = [name for name in kept if name in needed]
        while left:
            ready = next((n for n in left if not (_targets(kept[n]) & needed) - set(ordered)), None)
            if ready is None:
                self.problems.append(f"{self.place}: {', '.join(map(repr, left))} read one another in a circle")
                return None
            ordered.append(ready)
            left.remove(ready)
        return ordered


def _targets(config: StageConfig) -> set[str]:
    """Names of the steps that a step reads."""
    references = (getattr(config, field) for field in fields_marked(type(config), Input))
    return {reference.removeprefix(STEP) for reference in references if reference and reference.startswith(STEP)}


def _followed(reference: str, starts: dict[str, str | None]) -> str:
    """Through dropped steps to what they would have started from."""
    while (start := starts.get(reference.removeprefix(STEP))) is not None and reference.startswith(STEP):
        reference = start
    return reference


def _rewired(config: StageConfig, starts: dict[str, str | None]) -> StageConfig:
    """The step, reading past those that were dropped; the same object where nothing changes."""
    changes = {}
    for field in fields_marked(type(config), Input):
        reference = getattr(config, field)
        if reference is not None and (followed := _followed(reference, starts)) != reference:
            changes[field] = followed
    return config.model_copy(update=changes) if changes else config
