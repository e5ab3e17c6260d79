"""How a plan is made: every arm under every seed is walked, and steps with equal fingerprints become one node.

Names of nodes: `distill` is the main arm's; `no_warmup.distill` a step that this arm does not share; `distill@1` the
same under another seed than the recipe's. What two arms share without the main arm is named after the first of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import reduce
from pathlib import Path
from typing import Any

from reasoning_pipeline.data.pools import Pools
from reasoning_pipeline.errors import RecipeError, RegistryError
from reasoning_pipeline.models.outside import hub_contents, hub_fingerprint, outside_folder, require_weights
from reasoning_pipeline.models.pins import Pins
from reasoning_pipeline.plan.graph import Plan, PlannedArm, PlannedInput, PlannedStep
from reasoning_pipeline.plan.identity import Identities
from reasoning_pipeline.plan.ledger import Ledger
from reasoning_pipeline.recipe.arms import worlds
from reasoning_pipeline.recipe.model import MAIN, STEP, Recipe, World
from reasoning_pipeline.recipe.sections import data_source, sections
from reasoning_pipeline.recipe.stage import (
    Evaluation,
    Input,
    StageConfig,
    fields_marked,
)
from reasoning_pipeline.registry.record import RECORD, Spend, read_record
from reasoning_pipeline.registry.resolve import resolve_model
from reasoning_pipeline.registry.store import Registry


def make_plan(
    recipe: Recipe,
    root: Path,
    seeds: Sequence[int] = (),
    pools: type[Pools] = Pools,
    *,
    store: Path | None = None,
) -> Plan:
    """Fingerprint every step of every arm and look up which are complete. Reads records and data, never weights.

    Args:
        seeds: Plan everything once under each of these seeds; the recipe's own where none is given.
        root: Holds the recipe's run folder.
        store: Holds the registry; `root` where it is not given.
        pools: What reads the recipe's data; `SketchedPools` where that may not be on this machine.

    Raises:
        RecipeError: A label would be spent twice, or a file that the recipe names is missing.
        RegistryError: A model from outside is not there.
    """
    planner = Planner(recipe, Registry(store or root), pools, root)
    for seed in seeds or (recipe.seed,):
        planner.add_seed(seed)
    return planner.plan()


class Planner:
    """Collects nodes; each file of the recipe, each model from outside and each data set is read once."""

    def __init__(
        self, recipe: Recipe, registry: Registry, pools: type[Pools] = Pools, root: Path | None = None
    ) -> None:
        self.recipe, self.registry, self.root = recipe, registry, root or registry.root
        self.pins = Pins(self.root / recipe.name)
        source = data_source(recipe)
        data = {name: self.pins.data(config) for name, config in source.data.items()}
        self.pools = pools(replace(source, data=data), recipe.seed)
        self._nodes: dict[str, PlannedStep] = {}
        self._users: dict[str, dict[tuple[str, int], None]] = {}
        self._by_fingerprint: dict[str, list[str]] = {}
        self._named: dict[str, str] = {}
        """Node -> its name inside the first arm that has it."""
        self._companions: dict[str, dict[str, PlannedStep]] = {}
        """Node -> suffix -> what is made of its output."""
        self._arms: list[PlannedArm] = []
        self._outside: dict[str, tuple[str, str | None]] = {}
        """A model that no step makes -> (fingerprint, artifact)."""
        self._contents: dict[str, Any] = {}
        """The same -> what its fingerprint was computed from, where it is no artifact."""
        self._spent: dict[str, tuple[Spend, ...]] = {}
        """The same -> the labels behind it."""
        self._identities = Identities(recipe, self._contents)

    def add_seed(self, seed: int) -> None:
        """Plan every arm under this seed."""
        pools = self.pools.for_seed(seed)
        for world in worlds(self.recipe, seed):
            self._add(world, Ledger(world.recipe, pools))

    def plan(self) -> Plan:
        """Each step is followed by its companions: the server then holds a checkpoint's weights already."""
        steps: list[PlannedStep] = []
        for name, step in self._nodes.items():
            steps.append(self._with_users(step))
            steps += [self._with_users(companion) for companion in self._companions.get(name, {}).values()]
        for config in self.recipe.data.values():
            self.pins.data(config)  # what was read just now for the first time has a commit since
        self.pins.save()
        return Plan(self.recipe, self.registry, self.root, tuple(steps), tuple(self._arms), self.pins)

    def _with_users(self, step: PlannedStep) -> PlannedStep:
        object.__setattr__(step, "users", tuple(self._users[step.name]))  # still being built; nobody has seen it
        return step

    # One arm

    def _add(self, world: World, ledger: Ledger) -> None:
        inside: dict[str, str] = {}
        user = (world.arm, world.seed)
        for name, config in _steps(world.recipe):
            inside[name] = self._place(world, ledger, name, config, inside)
            self._users.setdefault(inside[name], {})[user] = None
        evaluation = None
        for section in sections():
            for name, suffix, config in section.companions(world):
                step = self._companion(inside[name], suffix, config, ledger)
                self._users.setdefault(step.name, {})[user] = None
                if name == world.outcome and isinstance(step.config, Evaluation):
                    evaluation = step.name
        arm = self.recipe.arms.get(world.arm)
        self._arms.append(
            PlannedArm(
                name=world.arm,
                seed=world.seed,
                description=arm.description if arm is not None else self.recipe.description,
                recipe=world.recipe,
                ledger=ledger,
                steps=inside,
                outcome=inside[world.outcome] if world.outcome is not None else None,
                evaluation=evaluation,
            )
        )

    def _place(self, world: World, ledger: Ledger, name: str, config: StageConfig, inside: dict[str, str]) -> str:
        """The node of a step: one that another arm has, or a new one."""
        inputs = tuple(self._inputs(world.recipe, config, inside))
        identity, fingerprint = self._identities.of(world.recipe, ledger, config, inputs)
        mine = set(inside.values())  # twins within an arm keep a name each; the runner does them once
        same = [node for node in self._by_fingerprint.get(fingerprint, ()) if node not in mine]
        if same:
            return next((node for node in same if self._named[node] == name), same[0])
        node = name if world.arm == MAIN else f"{world.arm}.{name}"
        if world.seed != self.recipe.seed:
            node += f"@{world.seed}"
        self._nodes[node] = self._planned(node, config, inputs, identity, fingerprint, ledger)
        self._by_fingerprint.setdefault(fingerprint, []).append(node)
        self._named[node] = name
        return node

    def _companion(self, node: str, suffix: str, config: StageConfig, ledger: Ledger) -> PlannedStep:
        """What is made of a node's output: once, for whichever arm asks first."""
        beside = self._companions.setdefault(node, {})
        if suffix not in beside:
            asked = (field for field in fields_marked(type(config), Input) if _is_the_step(getattr(config, field)))
            config = config.model_copy(update=dict.fromkeys(asked, STEP + node))
            inputs = tuple(self._inputs(self.recipe, config, {node: node}))
            identity, fingerprint = self._identities.of(self.recipe, ledger, config, inputs)
            beside[suffix] = self._planned(f"{node}.{suffix}", config, inputs, identity, fingerprint, ledger)
        return beside[suffix]

    def _planned(
        self,
        name: str,
        config: StageConfig,
        inputs: tuple[PlannedInput, ...],
        identity: dict[str, Any],
        fingerprint: str,
        ledger: Ledger,
    ) -> PlannedStep:
        spends, asks = ledger.spends_of(config, name), ledger.asks_of(config, name)
        before: dict[Spend, None] = {}
        for entry in inputs:
            before |= dict.fromkeys(self._behind(entry))
        self._refuse_second_spending(name, spends, before)
        return PlannedStep(
            name=name,
            config=config,
            inputs=inputs,
            identity=identity,
            fingerprint=fingerprint,
            spends=spends,
            asks=asks,
            lineage=(*before, *spends, *asks),
            users=(),
            ledger=ledger,
            artifact=self.registry.find(config.stage, fingerprint),
        )

    def _behind(self, entry: PlannedInput) -> tuple[Spend, ...]:
        """What the input has behind it: by the plan, or by the record of a model from elsewhere."""
        if entry.step is not None:
            return self._nodes[entry.step].lineage
        return self._spent.get(entry.reference, ())

    def _refuse_second_spending(self, name: str, spends: tuple[Spend, ...], before: dict[Spend, None]) -> None:
        """Within the recipe this was checked when it was read; here it is about labels spent elsewhere."""
        for spend in spends:
            for old in before:
                if old.labels and old.pool_digest == spend.pool_digest and not spend.replay:
                    raise RecipeError(
                        str(self.recipe.path),
                        [
                            f"steps.{name}.spends: the labels of the pool {spend.pool!r} were already spent by "
                            f"{old.step!r} (pool {old.pool!r}), which made a model that this step comes from; choose "
                            "a pool not spent yet, or say `replay: true`"
                        ],
                    )

    # Inputs

    def _inputs(self, recipe: Recipe, config: StageConfig, inside: dict[str, str]) -> Iterator[PlannedInput]:
        for field in fields_marked(type(config), Input):
            reference = getattr(config, field)
            if reference is None:
                continue
            if reference.startswith(STEP):
                parent = self._nodes[inside[reference.removeprefix(STEP)]]
                yield PlannedInput(field, reference, parent.fingerprint, parent.name, parent.output)
            else:
                try:
                    fingerprint, artifact = self._found_outside(reference)
                except RegistryError as error:
                    step = next((name for name, other in recipe.steps.items() if other is config), config.stage)
                    place = f"{self.recipe.path}: steps.{step}.{field}"
                    raise RegistryError(f"{place}: {error.message}", remedy=error.remedy) from error
                yield PlannedInput(field, reference, fingerprint, None, artifact)

    def _found_outside(self, reference: str) -> tuple[str, str | None]:
        """(fingerprint, artifact) of a model that no step makes; its contents and its labels are remembered."""
        if reference not in self._outside:
            local = outside_folder(reference, self.recipe.folder)
            folder = None
            if local is not None:
                require_weights(local)
                folder = local
                model = resolve_model(str(local), self.registry.root)
                self._outside[reference] = (str(model.fingerprint), None)
                if model.contents is not None:
                    self._contents[reference] = model.contents
            elif reference.count("/") == 1:
                pinned = self.pins.model(reference)
                self._outside[reference] = (hub_fingerprint(pinned), None)
                self._contents[reference] = hub_contents(pinned)
            else:  # an artifact that another recipe made; a word that names nothing is refused before anything runs
                model = resolve_model(reference, self.registry.root, newest=False)
                self._outside[reference], folder = (str(model.fingerprint), model.folder.name), model.folder
            if folder is not None and (folder / RECORD).is_file():
                self._spent[reference] = tuple(read_record(folder).label_spend)
        return self._outside[reference]


def _is_the_step(reference: str | None) -> bool:
    """Whether a companion's field stands for the step that it follows, and not for nothing or a model from outside."""
    return reference is not None and reference.startswith(STEP)


def _steps(recipe: Recipe) -> Iterator[tuple[str, StageConfig]]:
    """The arm's steps, with what the recipe's sections put before and behind them."""
    for name, config in recipe.steps.items():
        for section in sections():
            yield from section.before(recipe, name)
        yield name, reduce(lambda changed, section: section.changed(recipe, name, changed), sections(), config)
        for section in sections():
            yield from section.after(recipe, name)
