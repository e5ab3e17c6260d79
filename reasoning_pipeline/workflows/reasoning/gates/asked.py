"""Gates: the theory's two conditions, as a recipe asks for them and as steps of the plan that measure them.

    gates:
      c1: {problems: second, samples: 4, min_gain: 0.05, on_failure: warn}
      c2: {prompts: first, rollouts: 300, max_reverse_kl: 0.1, on_failure: extend, extend_steps: 120}

C1, the RL'd teacher beats its raw self: paired accuracy on problems its lineage has not spent. C2, the student is near
the RL'd teacher: divergence per token and top-k overlap on the student's own rollouts, measured at the start of the
bridge and after each of its stages; the threshold is asked where on-policy distillation begins. Measured figures are
artifacts; thresholds are no part of any fingerprint, so a changed one judges anew what is there (judging.py).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from reasoning_pipeline.base.validation import suggestion
from reasoning_pipeline.recipe.model import STEP, Recipe, lineage
from reasoning_pipeline.recipe.rewarded import Rewarded
from reasoning_pipeline.recipe.sections import Section
from reasoning_pipeline.recipe.stage import (
    EVALUATION_PROGRAM,
    Measures,
    ModelRef,
    Pools,
    Spends,
    SpendsLabels,
    StageConfig,
)
from reasoning_pipeline.recipe.work import Known, Work
from reasoning_pipeline.workflows.reasoning.evaluation import PROMPT_LIMIT
from reasoning_pipeline.workflows.reasoning.fields import Until
from reasoning_pipeline.workflows.reasoning.stages import measure_divergence

GAIN, DIVERGENCE = "measure_gain", "measure_divergence"
ON_POLICY = "on_policy_distillation"
WARMUP = "forward_kl_warmup"


class GainGate(BaseModel):
    """C1. Which held-out problems, and how much the teacher must have gained on them."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    problems: str
    """A pool that the teacher's lineage does not spend. Its labels measure; nothing learns from them."""
    limit: int | None = Field(None, ge=1)
    """At most this many of the problems."""
    samples: int = Field(4, ge=1)
    """Per problem and model."""
    min_gain: float = Field(0.0, ge=-1, le=1)
    """Least gain of accuracy, as a share of 1."""
    on_failure: Literal["warn", "stop"] = "warn"
    """Say so and go on, or end the run."""


class DistanceGate(BaseModel):
    """C2. How far the student may be from the RL'd teacher where on-policy distillation begins."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    prompts: Pools
    """Pools whose questions the student answers; no label is used."""
    rollouts: int = Field(300, ge=1)
    """How many of those questions, one rollout each."""
    top_k: int = Field(16, ge=1)
    """Tokens at each position whose overlap is measured."""
    max_reverse_kl: float = Field(0.1, gt=0)
    """Largest KL(student || teacher), mean over the student's tokens, in nats. The theory names no number: this one is
    a convention of ours, between what the demo's students have before and after their warmup."""
    min_overlap: float | None = Field(None, ge=0, le=1)
    """Least share of the teacher's top-k tokens among the student's."""
    on_failure: Literal["warn", "stop", "extend"] = "warn"
    """Say so and go on, end the run, or train the warmup for longer first."""
    extend_steps: int | None = Field(None, ge=1)
    """`extend`: the warmup may go on for this many optimizer steps beyond its own."""
    check_every: int = Field(20, ge=1)
    """`extend`: optimizer steps between two looks."""

    _one_or_many = field_validator("prompts", mode="before")(lambda v: (v,) if isinstance(v, str) else v)

    @model_validator(mode="after")
    def _budget(self) -> Self:
        if (self.on_failure == "extend") != (self.extend_steps is not None):
            raise ValueError("`on_failure: extend` and `extend_steps` go together")
        return self


class GatesConfig(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    c1: GainGate | None = None
    """Has sparse reward made the teacher better?"""
    c2: DistanceGate | None = None
    """Is the student near enough to the teacher to write what the teacher can comment?"""


class MeasureGain(Rewarded):
    """C1 as a step of the plan; its program is `python -m evals step`."""

    publishes: ClassVar[str] = "measurement"
    generates_with: ClassVar[str | None] = "policy"
    heavy: ClassVar[bool] = False
    program: ClassVar[tuple[str, ...]] = EVALUATION_PROGRAM

    stage: Literal["measure_gain"] = "measure_gain"
    policy: ModelRef
    start: ModelRef
    problems: Annotated[Pools, Measures()]
    limit: int | None = None
    samples: int
    temperature: float
    max_completion_tokens: int

    def work(self, known: Known) -> Work:
        problems = min(known.measured, self.limit or known.measured)
        return Work(
            rows=2 * problems * self.samples,  # of the policy and of its start, which are of one size
            prompt_limit=PROMPT_LIMIT,
            completion_limit=self.max_completion_tokens,
            generates=True,
        )


def gates_of(recipe: Recipe) -> GatesConfig | None:
    """What the recipe says under `gates`."""
    found: GatesConfig | None = recipe.sections.get("gates")
    return found


# ── which measurements a recipe asks for, and where they stand ──────────────────────────────────────────────────────


def steps_before(recipe: Recipe, name: str) -> Iterator[tuple[str, StageConfig]]:
    """Measurements placed just before a step: of the student that it starts from."""
    config, gate = recipe.steps[name], _distance_gate(recipe)
    if gate is None or not _distils(config):
        return
    policy, teacher = config.policy, config.teacher  # type: ignore[attr-defined]
    if (policy, teacher) not in _measured_by(recipe, name):
        yield _divergence_step(recipe, gate, policy, teacher, name)


def steps_after(recipe: Recipe, name: str) -> Iterator[tuple[str, StageConfig]]:
    """Measurements placed just behind a step: what a teacher gained, how near a student came."""
    config, gates = recipe.steps[name], gates_of(recipe)
    if gates is not None and gates.c1 is not None and name in _trained_teachers(recipe):
        yield f"{name}.c1", _gain_step(recipe, gates.c1, name, config)
    if (gate := _distance_gate(recipe)) is not None and _distils(config):
        yield _divergence_step(recipe, gate, STEP + name, config.teacher, name)  # type: ignore[attr-defined]


def extended(recipe: Recipe, name: str, config: StageConfig) -> StageConfig:
    """The step's config; of a warmup that `extend` concerns, with the larger budget and the thresholds that end it."""
    gate = _distance_gate(recipe)
    if gate is None or gate.on_failure != "extend" or config.stage != WARMUP or not _feeds_on_policy(recipe, name):
        return config
    steps: int = config.steps  # type: ignore[attr-defined]
    assert gate.extend_steps is not None
    until = Until(
        reverse_kl=gate.max_reverse_kl,
        top_k_overlap=gate.min_overlap,
        top_k=gate.top_k,
        after=steps,
        check_every=gate.check_every,
        max_completion_tokens=_lengths_for(recipe, name).get("max_completion_tokens"),
    )
    extended_config: StageConfig = config.model_copy(update={"steps": steps + gate.extend_steps, "until": until})
    return extended_config


def _distance_gate(recipe: Recipe) -> DistanceGate | None:
    gates = gates_of(recipe)
    return gates.c2 if gates is not None else None


def _distils(config: StageConfig) -> bool:
    return hasattr(config, "teacher") and hasattr(config, "policy") and type(config).publishes == "checkpoint"


def _trained_teachers(recipe: Recipe) -> set[str]:
    """Steps that spend labels and are asked as a teacher."""
    asked = {str(getattr(config, "teacher", "")).removeprefix(STEP) for config in recipe.steps.values()}
    return {name for name in asked if isinstance(recipe.steps.get(name), SpendsLabels)}


def _measured_by(recipe: Recipe, name: str) -> set[tuple[str, str]]:
    """(student, teacher) pairs that stand measured before this step."""
    pairs: set[tuple[str, str]] = set()
    for earlier, config in recipe.steps.items():
        if earlier == name:
            break
        if _distils(config):
            pairs |= {(config.policy, config.teacher), (STEP + earlier, config.teacher)}  # type: ignore[attr-defined]
    return pairs


def _feeds_on_policy(recipe: Recipe, name: str) -> bool:
    return any(c.stage == ON_POLICY and c.policy == STEP + name for c in recipe.steps.values())  # type: ignore[attr-defined]


def _gain_step(recipe: Recipe, gate: GainGate, name: str, config: StageConfig) -> MeasureGain:
    return MeasureGain(
        policy=STEP + name,
        start=config.policy,  # type: ignore[attr-defined]
        problems=(gate.problems,),
        limit=gate.limit,
        samples=gate.samples,
        temperature=config.temperature,  # type: ignore[attr-defined]
        max_completion_tokens=config.max_completion_tokens,  # type: ignore[attr-defined]
        seed=recipe.seed,
        **({"reward": config.reward, "reward_files": config.reward_files} if isinstance(config, Rewarded) else {}),
    )


def _divergence_step(
    recipe: Recipe, gate: DistanceGate, policy: str, teacher: str, consumer: str
) -> tuple[str, StageConfig]:
    """Named after the student; after the step that distils it where that alone would not tell."""
    lengths = _lengths_for(recipe, consumer)
    config = measure_divergence.Config(
        policy=policy,
        teacher=teacher,
        prompts=gate.prompts,
        rollouts=gate.rollouts,
        top_k=gate.top_k,
        seed=recipe.seed,
        **lengths,
    )
    teachers = {c.teacher for c in recipe.steps.values() if _distils(c)}  # type: ignore[attr-defined]
    if not policy.startswith(STEP):
        return f"{consumer}.start.c2", config
    student = policy.removeprefix(STEP)
    return (f"{student}.c2" if len(teachers) == 1 else f"{student}.c2.{short_name(teacher)}"), config


def _lengths_for(recipe: Recipe, consumer: str) -> dict[str, Any]:
    """Decoding as in on-policy distillation, which is where the distance matters; else as in what generates."""
    generating = [c for c in recipe.steps.values() if hasattr(c, "max_completion_tokens")]
    on_policy = [c for c in generating if c.stage == ON_POLICY]
    here = [c for c in on_policy if c.policy == STEP + consumer] or [recipe.steps[consumer]]  # type: ignore[attr-defined]
    chosen = next((c for c in [*here, *on_policy, *generating] if hasattr(c, "max_completion_tokens")), None)
    if chosen is None:
        return {}
    fields = ("temperature", "max_prompt_tokens", "max_completion_tokens")
    return {field: getattr(chosen, field) for field in fields}


def short_name(reference: str) -> str:
    return reference.removeprefix(STEP).rpartition("/")[2]


# ── what is wrong with a recipe's gates ─────────────────────────────────────────────────────────────────────────────


def gate_problems(recipe: Recipe) -> Iterator[str]:
    """One sentence per problem, with its place."""
    gates, pools = gates_of(recipe), recipe.pools()
    if gates is None:
        return
    if gates.c1 is not None:
        if not _trained_teachers(recipe):
            yield "gates.c1: no step that spends labels is asked as a teacher, so there is no gain to measure"
        pool = gates.c1.problems
        if pool not in pools:
            hint = "; a whole data set is a pool of share 1" if pool in recipe.data else suggestion(pool, pools)
            yield f"gates.c1.problems: no pool is called {pool!r}{hint}"
    if gates.c2 is not None:
        if not any(_distils(config) for config in recipe.steps.values()):
            yield "gates.c2: no step distils a teacher into a student, so there is no distance to measure"
        for pool in gates.c2.prompts:
            if pool not in pools:
                yield f"gates.c2.prompts: no pool is called {pool!r}{suggestion(pool, pools)}"
        if gates.c2.on_failure == "extend":
            yield from _extension_problems(recipe)


def learned_from_measured(recipe: Recipe) -> Iterator[str]:
    """Where a teacher has learned from the labels that C1 measures it by. Asked of every arm: each is its own world."""
    gates = gates_of(recipe)
    if gates is None or gates.c1 is None:
        return
    pool = gates.c1.problems
    for teacher in sorted(_trained_teachers(recipe)):
        for step in (*lineage(recipe, teacher), teacher):
            if pool in recipe.pools_of(step, Spends):
                yield (
                    f"gates.c1.problems: the pool {pool!r} is spent by {step!r}, so the teacher {teacher!r} has "
                    "learned from its labels; name a pool that is spent later or not at all"
                )


def _extension_problems(recipe: Recipe) -> Iterator[str]:
    warmups = [name for name, c in recipe.steps.items() if c.stage == WARMUP and _feeds_on_policy(recipe, name)]
    if not warmups:
        yield f"gates.c2.on_failure: nothing to extend: no {WARMUP} step leads to {ON_POLICY}"
    for name in warmups:
        config: Any = recipe.steps[name]
        if getattr(config, "until", None) is not None:
            yield f"steps.{name}.until: stands beside `gates.c2.on_failure: extend`, which sets it; say one of them"
        if getattr(config, "steps", None) is None:
            yield f"steps.{name}.steps: `gates.c2.on_failure: extend` counts from a number of steps; give it"
        if getattr(config, "schedule", "constant") != "constant":
            yield (
                f"steps.{name}.schedule: must be `constant` where the end is decided in training "
                "(gates.c2.on_failure: extend); a rate that falls over the budget would end in mid-fall"
            )


class Gates(Section):
    """`gates:` in a recipe."""

    key = "gates"
    model = GatesConfig

    def problems(self, recipe: Recipe, all_names: list[str]) -> Iterator[str]:
        return gate_problems(recipe)

    def arm_problems(self, recipe: Recipe) -> Iterator[str]:
        return learned_from_measured(recipe)

    def before(self, recipe: Recipe, step: str) -> Iterator[tuple[str, StageConfig]]:
        return steps_before(recipe, step)

    def changed(self, recipe: Recipe, step: str, config: StageConfig) -> StageConfig:
        return extended(recipe, step, config)

    def after(self, recipe: Recipe, step: str) -> Iterator[tuple[str, StageConfig]]:
        return steps_after(recipe, step)
