"""What was submitted for a recipe: ROOT/RECIPE/slurm.json. Written after every submission: none is lost."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from reasoning_pipeline.base.files import write_json
from reasoning_pipeline.errors import PipelineError
from reasoning_pipeline.recipe.model import MAIN

FILE = "slurm.json"
SCHEMA = 1


@dataclass(frozen=True)
class Submission:
    """One step in the queue, or once in it.

    Example:
        Submission(job="1235_0", step="distill", output="on_policy_distillation-3f2a9c1b7d04e6f8",
                   script="slurm/distill.sh", log="logs/slurm/distill-1235_0.out", after=("1234",),
                   profile="two_nodes", submitted="2026-05-01T12:00:00+00:00")
    """

    job: str
    step: str
    output: str
    """Of the step: its folder in registry and work area. The same step of a changed recipe has another."""
    script: str
    """Relative to the recipe's folder, as is `log`."""
    log: str
    after: tuple[str, ...]
    profile: str
    submitted: str


@dataclass
class Submitted:
    """All submissions of a recipe, oldest first."""

    folder: Path
    submissions: list[Submission] = field(default_factory=list)
    overrides: list[str] = field(default_factory=list)
    """With `arms` and `seeds`: what the newest submission was given, so that `status` and `cancel` need not be."""
    arms: list[str] = field(default_factory=lambda: [MAIN])
    seeds: list[int] = field(default_factory=list)

    @classmethod
    def read(cls, folder: Path) -> Submitted:
        """What was submitted for this recipe's folder; empty where nothing was submitted."""
        path = folder / FILE
        if not path.is_file():
            return cls(folder)
        try:
            values: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
            if values["schema"] > SCHEMA:
                raise PipelineError(f"{path}: written by a newer version", remedy="update reasoning-pipeline")
            submissions = [Submission(**{**row, "after": tuple(row["after"])}) for row in values["submissions"]]
        except (ValueError, KeyError, TypeError) as error:
            raise PipelineError(
                f"{path}: cannot be read ({error})",
                remedy="move it away; `squeue --me` shows what is still queued",
            ) from error
        return cls(folder, submissions, values["overrides"], values["arms"], values["seeds"])

    def add(self, *submissions: Submission) -> None:
        self.submissions.extend(submissions)
        rows = [asdict(submission) for submission in self.submissions]
        given = {"overrides": self.overrides, "arms": self.arms, "seeds": self.seeds}
        write_json(self.folder / FILE, {"schema": SCHEMA, **given, "submissions": rows})

    def newest(self, output: str) -> Submission | None:
        """The last submission of the step with this output."""
        return next((entry for entry in reversed(self.submissions) if entry.output == output), None)
