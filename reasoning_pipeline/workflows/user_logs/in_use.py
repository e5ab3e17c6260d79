"""A published system outside of a plan: `serve NAME` and `python -m evals NAME --suite user_logs`."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from reasoning_pipeline.hardware.profile import HardwareProfile
from reasoning_pipeline.registry.resolve import ResolvedModel
from reasoning_pipeline.run.uses import Use
from reasoning_pipeline.workflows.user_logs.scoring import SUITE, suite_queries
from reasoning_pipeline.workflows.user_logs.system import SYSTEM_FILE


class Answering(Use):
    """What `choose_modules` publishes."""

    kind: ClassVar[str] = "system"
    suite: ClassVar[str] = SUITE

    def knows(self, folder: Path) -> bool:
        return (folder / SYSTEM_FILE).is_file()

    def evaluate(self, model: ResolvedModel, out: Path, *, profile: HardwareProfile, seed: int) -> str:
        from reasoning_pipeline.workflows.user_logs.evaluation import evaluate_queries
        from reasoning_pipeline.workflows.user_logs.opening import opened_system

        with opened_system(model.folder, profile, model.prompt) as (system, speaker):
            found = evaluate_queries(system, speaker, suite_queries(None, 300), seed)
        found.save(out)
        score, paths = found.figures["suites"][SUITE], found.figures["paths"]
        low, high = score["interval"]
        shares = ", ".join(f"{path} {share:.0%}" for path, share in paths.items())
        return (
            f"{SUITE}  {score['accuracy']:.1%} [{low:.1%}, {high:.1%}] of {score['problems']} queries; {shares}; "
            f"{found.figures['generations_a_query']:.2f} generations a query"
        )

    def serve(self, model: ResolvedModel, *, profile: HardwareProfile, host: str, port: int | None, key: str) -> None:
        from reasoning_pipeline.workflows.user_logs.serving import serve

        serve(model.folder, profile, model.prompt, host=host, port=port, key=key)


CONTRIBUTES = (Answering(),)
