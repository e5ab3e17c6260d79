"""Sessions of a system in use, checked and masked: the logs that everything else learns from.

Takes a JSONL file (own rows, chat logs, or WildChat's turns: logs.py), a data set of the hub, or what `simulate_logs`
made. Sessions
without feedback are dropped and counted, as the paper does; so are those that cannot be used, each with its reason in
`set_aside.jsonl`. Personal data is masked before anything is written. No label is spent.
Try it: python -m reasoning_pipeline run recipes/smoke/read_logs.yaml
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, model_validator

from reasoning_pipeline.data.redaction import redactor
from reasoning_pipeline.recipe.stage import File, Input, StageConfig
from reasoning_pipeline.recipe.work import Known, Work
from reasoning_pipeline.run.context import StageContext, StageOutcome
from reasoning_pipeline.workflows.user_logs.logs import SESSIONS_FILE, HubLogs, Placed, file_sessions, read_sessions


class Config(StageConfig):
    publishes: ClassVar[str] = "logs"
    heavy: ClassVar[bool] = False

    stage: Literal["read_logs"] = "read_logs"
    file: Annotated[str | None, File()] = None
    """JSONL, relative to the recipe. Exactly one of `file`, `hub` and `sessions`."""
    hub: HubLogs | None = Field(None, exclude_if=lambda hub: hub is None)
    """A data set of the hub, such as MemoryBench."""
    sessions: Annotated[str | None, Input("sessions")] = None
    """Simulated ones, in the place of a file."""
    redactor: Literal["patterns", "presidio", "none"] = "patterns"
    """What masks personal data: the form of addresses and keys, presidio, or nothing."""
    redactor_file: Annotated[str | None, File()] = None
    """A Python file with `redact(text) -> text` of one's own, used behind the redactor that is named. Trusted code."""
    source: str = ""
    """Where the sessions come from, for those that do not say."""
    expected: int = Field(0, ge=0)
    """About how many logs there will be: what the plan's estimates of the later steps start from."""

    def work(self, known: Known) -> Work | None:
        return Work(rows=self.expected) if self.expected else None

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if sum(given is not None for given in (self.file, self.hub, self.sessions)) != 1:
            raise ValueError("give exactly one of `file`, `hub` and `sessions`")
        return self


def run(config: Config, context: StageContext) -> StageOutcome:
    """Publishes logs.jsonl, and set_aside.jsonl with what was not taken."""
    rows: Iterable[Placed]
    if config.hub is not None:
        rows = config.hub.rows()
    else:
        rows = file_sessions(Path(config.file) if config.file else context.inputs["sessions"] / SESSIONS_FILE)
    found = read_sessions(rows, redactor(config.redactor, config.redactor_file), source=config.source)
    output = context.fresh_output()
    found.save(output)
    return StageOutcome(output, {"logs": len(found.logs), "set_aside": found.counts()})
