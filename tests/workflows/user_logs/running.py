"""One stage of the workflow, without a runner."""

from __future__ import annotations

from pathlib import Path

from reasoning_pipeline.data.config import PromptConfig
from reasoning_pipeline.hardware.profile import load_profile
from reasoning_pipeline.recipe.workflows import stage_module
from reasoning_pipeline.run.context import StageContext, StageOutcome
from reasoning_pipeline.workflows.user_logs.logs import Log


def log(name: str, asked: str, said: str) -> Log:
    turn = {"role": "user", "content": asked}
    return Log(id=name, query=(turn,), answer="stone", feedback=(said,), language="small")


def run(kind: str, work: Path, inputs: dict[str, Path], **values: object) -> StageOutcome:
    """One stage, without a runner."""
    module = stage_module(kind)
    config = module.Config(seed=0, **{name: f"step:{name}" for name in inputs}, **values)
    (work / kind).mkdir(parents=True, exist_ok=True)
    context = StageContext(
        config=config,
        label=kind,
        problems=[],
        inputs=inputs,
        prompt=PromptConfig(),
        profile=load_profile("cpu_transformers"),
        work=work / kind,
    )
    outcome: StageOutcome = module.run(config, context)
    return outcome
