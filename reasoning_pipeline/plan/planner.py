"""How a plan is made: every arm under every seed is walked, and steps with equal fingerprints become one node.

Names of nodes: `distill` is the main arm's; `no_warmup.distill` a step that this arm does not share; `distill@1` the
same under another seed than the recipe's. What two arms share without the main arm is named after the first of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from reasoning_pipeline.base.fingerprint import digest, file_digest
from reasoning_pipeline.data.pools import Pools
from reasoning_pipeline.errors import RecipeError
from reasoning_pipeline.models.outside import hub_contents, hub_fingerprint, require_weights
from reasoning_pipeline.plan.graph import EVALUATE, EvaluateStep, Plan, PlannedArm, PlannedInput, PlannedStep
from reasoning_pipeline.plan.ledger import Ledger
from reasoning_pipeline.recipe.arms import World, worlds
from reasoning_pipeline.recipe.model import MAIN, STEP, Recipe
from reasoning_pipeline.recipe.stage import Input, Measures, Prompts, Spends, StageConfig, fields_marked
from reasoning_pipeline.records import Problem
from reasoning_pipeline.registry.record import RECORD, Spend, read_record
from reasoning_pipeline.registry.resolve import resolve_model
from reasoning_pipeline.registry.store import Registry
from reasoning_pipeline.workflows.reasoning import gates


def make_plan(recipe: Recipe, root: Path, seeds: Sequence[int] = (), pools: Pools | None = None) -> Plan:
    """Fingerprint every step of every arm and look up which are complete. Reads records and data, never weights.

    Args:
        seeds: Plan everything once under each of these seeds; the recipe's own where none is given.
        pools: Where problems are read from, if not from the recipe's data (unread_data.py).

    Raises:
        RecipeError: A label would be spent twice, or a file that the recipe names is missing.
        RegistryError: A model from outside is not there.
    """
    planner = Planner(recipe, Registry(root), pools)
    for seed in seeds or (recipe.seed,):
        planner.add_seed(seed)
    return planner.plan()


class Planner:
    """Collects nodes; each file of the recipe, each model from outside and each data set is read once."""

    def __init__(self, recipe: Recipe, registry: Registry, pools: Pools | None = None) -> None:
        self.recipe, self.registry = recipe, registry
        self.pools = pools or Pools(recipe)
        self.prompt = recipe.prompt.model_dump(mode="json")
        self._nodes: dict[str, PlannedStep] = {}
        self._users: dict[str, dict[tuple[str, int], None]] = {}
        self._by_fingerprint: dict[str, list[str]] = {}
        self._named: dict[str, str] = {}
        """Node -> its name inside the first arm that has it."""
        self._evaluations: dict[str, PlannedStep] = {}
        """Node -> the evaluation of its checkpoint."""
        self._arms: list[PlannedArm] = []
        self._known: dict[Any, Any] = {}

    def add_seed(self, seed: int) -> None:
        """Plan every arm under this seed."""
        pools = self.pools.for_seed(seed)
        for world in worlds(self.recipe, seed):
            self._add(world, Ledger(world.recipe, pools))

    def plan(self) -> Plan:
        """Each checkpoint is followed by its evaluation: the server then holds its weights already."""
        steps: list[PlannedStep] = []
        for name, step in self._nodes.items():
            steps.append(self._with_users(step))
            if (evaluation := self._evaluations.get(name)) is not None:
                steps.append(self._with_users(evaluation))
        return Plan(recipe=self.recipe, registry=self.registry, steps=tuple(steps), arms=tuple(self._arms))

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
        for name in _evaluated(world):
            step = self._evaluation(inside[name], ledger)
            self._users.setdefault(step.name, {})[user] = None
            if name == world.outcome:
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
        identity, fingerprint = self._identity(world.recipe, ledger, config, inputs)
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

    def _evaluation(self, checkpoint: str, ledger: Ledger) -> PlannedStep:
        if checkpoint not in self._evaluations:
            assert self.recipe.evaluate is not None
            config = EvaluateStep(checkpoint=STEP + checkpoint, **self.recipe.evaluate.model_dump(exclude={"of"}))
            inputs = tuple(self._inputs(self.recipe, config, {checkpoint: checkpoint}))
            identity, fingerprint = self._identity(self.recipe, ledger, config, inputs)
            name = f"{checkpoint}.{EVALUATE}"
            step = self._planned(name, config, inputs, identity, fingerprint, ledger)
            self._evaluations[checkpoint] = step
        return self._evaluations[checkpoint]

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
        found: tuple[Spend, ...] = self._known.get(("spent", entry.reference), ())
        return found

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

    # Identity

    def _identity(
        self, recipe: Recipe, ledger: Ledger, config: StageConfig, inputs: tuple[PlannedInput, ...]
    ) -> tuple[dict[str, Any], str]:
        fingerprints = tuple(entry.fingerprint for entry in inputs)
        # Arms share the objects of the steps that they do not change, so most of them are looked up here.
        key = ("identity", id(config), recipe.seed, fingerprints)
        if key in self._known:
            found: tuple[dict[str, Any], str] = self._known[key][1]
            return found
        identity: dict[str, Any] = {
            "stage": config.stage,
            "stage_version": type(config).version,
            "config": _experiment(config),
            "inputs": {entry.field: entry.fingerprint for entry in inputs},
            "prompt": self.prompt,
        }
        problems = {
            field: {pool: _set_of(ledger.pool(pool), ledger.digest((pool,))) for pool in getattr(config, field)}
            for mark in (Spends, Prompts, Measures)
            for field in fields_marked(type(config), mark)
        }
        data = getattr(config, "data", None)
        if isinstance(data, str):
            problems["data"] = {data: _set_of(ledger.data(data), ledger.pools.questions_digest(data))}
        # Parts beyond these are there only where they say something: `why` names each by its field.
        contents = {entry.field: self._known.get(("contents", entry.reference)) for entry in inputs}
        outside = {field: found for field, found in contents.items() if found is not None}
        identity |= {"problems": problems} if problems else {}
        identity |= {"outside": outside} if outside else {}
        identity |= {"brings": brings} if (brings := config.brings()) else {}
        if data and not isinstance(data, str):
            identity["suite_files"] = self._suite_files(data)
        self._known[key] = (config, (identity, digest(identity)))  # the config is kept, so that its id stays its own
        found = self._known[key][1]
        return found

    def _suite_files(self, data: dict[str, str]) -> dict[str, str]:
        if "suite_files" not in self._known:
            folder = Path(self.recipe.path).resolve().parent
            missing = [suite for suite, path in data.items() if not (folder / path).is_file()]
            if missing:
                expected = "(a relative path starts at the recipe's folder)"
                places = [f"evaluate.data.{suite}: no file {data[suite]!r} {expected}" for suite in missing]
                raise RecipeError(str(self.recipe.path), places)
            self._known["suite_files"] = {suite: file_digest(folder / path) for suite, path in data.items()}
        found: dict[str, str] = self._known["suite_files"]
        return found

    # Inputs

    def _inputs(self, recipe: Recipe, config: StageConfig, inside: dict[str, str]) -> Iterator[PlannedInput]:
        for field in fields_marked(type(config), Input):
            reference = getattr(config, field)
            if reference.startswith(STEP):
                parent = self._nodes[inside[reference.removeprefix(STEP)]]
                yield PlannedInput(field, reference, parent.fingerprint, parent.name, parent.output)
            else:
                fingerprint, artifact = self._outside(reference)
                yield PlannedInput(field, reference, fingerprint, None, artifact)

    def _outside(self, reference: str) -> tuple[str, str | None]:
        """(fingerprint, artifact) of a model that no step makes; its labels are remembered."""
        key = ("outside", reference)
        if key not in self._known:
            local = external_folder(reference, self.recipe)
            folder = None
            if local is not None:
                require_weights(local)
                folder = local
                model = resolve_model(str(local), self.registry.root)
                self._known[key] = (str(model.fingerprint), None)
                self._known["contents", reference] = model.contents
            elif reference.count("/") == 1:
                self._known[key] = (hub_fingerprint(reference), None)
                self._known["contents", reference] = hub_contents(reference)
            else:  # an artifact that another recipe made; a word that names nothing is refused before anything runs
                model = resolve_model(reference, self.registry.root)
                self._known[key], folder = (str(model.fingerprint), model.folder.name), model.folder
            if folder is not None and (folder / RECORD).is_file():
                self._known["spent", reference] = tuple(read_record(folder).label_spend)
        found: tuple[str, str | None] = self._known[key]
        return found


def external_folder(reference: str, recipe: Recipe) -> Path | None:
    """The folder a reference names, relative to the recipe, or None where it is a hub name."""
    path = Path(reference).expanduser()
    path = path if path.is_absolute() else Path(recipe.path).resolve().parent / path
    if path.is_dir():
        return path
    return path if reference.startswith((".", "/", "~")) else None


def _steps(recipe: Recipe) -> Iterator[tuple[str, StageConfig]]:
    """The arm's steps, with what its gates measure before and after them."""
    for name, config in recipe.steps.items():
        yield from gates.steps_before(recipe, name)
        yield name, gates.extended(recipe, name, config)
        yield from gates.steps_after(recipe, name)


def _evaluated(world: World) -> list[str]:
    """Steps whose checkpoints are scored: every arm's outcome, and of the main arm those that the recipe asks for."""
    evaluate = world.recipe.evaluate
    if evaluate is None or not evaluate.suites:
        return []
    made = [name for name, config in world.recipe.steps.items() if type(config).publishes == "checkpoint"]
    outcomes = {world.outcome} if world.recipe.arms else set()
    if world.arm != MAIN:
        return [name for name in made if name in outcomes]
    return [name for name in made if evaluate.of is None or name in evaluate.of or name in outcomes]


def _experiment(config: StageConfig) -> dict[str, Any]:
    """The config's values that are the experiment: references and paths are replaced by what they point to."""
    hidden = {"stage", *fields_marked(type(config), Input), "save_every"}
    if isinstance(getattr(config, "data", None), dict):
        hidden.add("data")
    return config.model_dump(mode="json", exclude=hidden)


def _set_of(problems: list[Problem], identity: str) -> dict[str, Any]:
    """A set of problems as an identity holds it; the count is for people."""
    return {"count": len(problems), "digest": identity}
