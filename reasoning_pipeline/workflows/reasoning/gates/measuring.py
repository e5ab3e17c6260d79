"""The steps that measure C1 and C2: which a recipe asks for, and where they stand in the plan."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, ClassVar, Literal

from reasoning_pipeline.recipe.model import STEP, Recipe
from reasoning_pipeline.recipe.rewarded import Rewarded
from reasoning_pipeline.recipe.stage import EVALUATION_PROGRAM, Measures, ModelRef, Pools, SpendsLabels, StageConfig
from reasoning_pipeline.recipe.work import Known, Work
from reasoning_pipeline.workflows.reasoning.evaluation import PROMPT_LIMIT
from reasoning_pipeline.workflows.reasoning.fields import Until
from reasoning_pipeline.workflows.reasoning.gates.asked import DistanceGate, GainGate, gates_of
from reasoning_pipeline.workflows.reasoning.stages import measure_divergence

GAIN, DIVERGENCE = "measure_gain", "measure_divergence"
ON_POLICY = "on_policy_distillation"
WARMUP = "forward_kl_warmup"


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


def steps_before(recipe: Recipe, name: str) -> Iterator[tuple[str, StageConfig]]:
    """Measurements placed just before a step: of the student that it starts from."""
    config, gate = recipe.steps[name], distance_gate(recipe)
    if gate is None or not distils(config):
        return
    policy, teacher = config.policy, config.teacher  # type: ignore[attr-defined]
    if (policy, teacher) not in _measured_by(recipe, name):
        yield _divergence_step(recipe, gate, policy, teacher, name)


def steps_after(recipe: Recipe, name: str) -> Iterator[tuple[str, StageConfig]]:
    """Measurements placed just behind a step: what a teacher gained, how near a student came."""
    config, gates = recipe.steps[name], gates_of(recipe)
    if gates is not None and gates.c1 is not None and name in trained_teachers(recipe):
        yield f"{name}.c1", _gain_step(recipe, gates.c1, name, config)
    if (gate := distance_gate(recipe)) is not None and distils(config):
        yield _divergence_step(recipe, gate, STEP + name, config.teacher, name)  # type: ignore[attr-defined]


def extended(recipe: Recipe, name: str, config: StageConfig) -> StageConfig:
    """The step's config; of a warmup that `extend` concerns, with the larger budget and the thresholds that end it."""
    gate = distance_gate(recipe)
    if gate is None or gate.on_failure != "extend" or config.stage != WARMUP or not feeds_on_policy(recipe, name):
        return config
    steps: int = config.steps  # type: ignore[attr-defined]
    assert gate.extend_steps is not None
    until = Until(
        reverse_kl=gate.max_reverse_kl,
        top_k_overlap=gate.min_overlap,
        top_k=gate.top_k,
        after=steps,
        check_every=gate.check_every,
        max_completion_tokens=decoding_for(recipe, name).get("max_completion_tokens"),
    )
    extended_config: StageConfig = config.model_copy(update={"steps": steps + gate.extend_steps, "until": until})
    return extended_config


def distance_gate(recipe: Recipe) -> DistanceGate | None:
    gates = gates_of(recipe)
    return gates.c2 if gates is not None else None


def distils(config: StageConfig) -> bool:
    return hasattr(config, "teacher") and hasattr(config, "policy") and type(config).publishes == "checkpoint"


def trained_teachers(recipe: Recipe) -> set[str]:
    """Steps that spend labels and are asked as a teacher."""
    asked = {str(getattr(config, "teacher", "")).removeprefix(STEP) for config in recipe.steps.values()}
    return {name for name in asked if isinstance(recipe.steps.get(name), SpendsLabels)}


def _measured_by(recipe: Recipe, name: str) -> set[tuple[str, str]]:
    """(student, teacher) pairs that stand measured before this step."""
    pairs: set[tuple[str, str]] = set()
    for earlier, config in recipe.steps.items():
        if earlier == name:
            break
        if distils(config):
            pairs |= {(config.policy, config.teacher), (STEP + earlier, config.teacher)}  # type: ignore[attr-defined]
    return pairs


def feeds_on_policy(recipe: Recipe, name: str) -> bool:
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
    lengths = decoding_for(recipe, consumer)
    config = measure_divergence.Config(
        policy=policy,
        teacher=teacher,
        prompts=gate.prompts,
        rollouts=gate.rollouts,
        top_k=gate.top_k,
        seed=recipe.seed,
        **lengths,
    )
    teachers = {c.teacher for c in recipe.steps.values() if distils(c)}  # type: ignore[attr-defined]
    if not policy.startswith(STEP):
        return f"{consumer}.start.c2", config
    student = policy.removeprefix(STEP)
    return (f"{student}.c2" if len(teachers) == 1 else f"{student}.c2.{short_name(teacher)}"), config


def decoding_for(recipe: Recipe, consumer: str) -> dict[str, Any]:
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
