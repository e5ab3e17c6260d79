"""A published system on the command line: `serve NAME` and `python -m evals NAME --suite user_logs`."""

from __future__ import annotations

from pathlib import Path

from reasoning_pipeline.data.prompts import PromptConfig
from reasoning_pipeline.hardware.profile import HardwareProfile
from reasoning_pipeline.registry.serving import Served
from reasoning_pipeline.registry.store import Artifact
from reasoning_pipeline.workflows.user_logs.scoring import SUITE, suite_queries


class ServedSystem(Served):
    """What `choose_modules` publishes."""

    kind = "system"
    suites = (SUITE,)

    def serve(
        self, artifact: Artifact, profile: HardwareProfile, root: Path, *, host: str, port: int, key: str
    ) -> None:
        from reasoning_pipeline.workflows.user_logs.serving import serve

        prompt = PromptConfig.model_validate(artifact.record.prompt)
        serve(artifact.folder, profile, prompt, root, host=host, port=port, key=key)

    def evaluate(self, artifact: Artifact, profile: HardwareProfile, out: Path, *, limit: int | None, seed: int) -> str:
        from reasoning_pipeline.workflows.user_logs.evaluation import evaluate_queries
        from reasoning_pipeline.workflows.user_logs.opening import open_system

        system, speaker = open_system(artifact.folder, profile, PromptConfig.model_validate(artifact.record.prompt))
        found = evaluate_queries(system, speaker, suite_queries(None, limit or 300), seed)
        found.save(out)
        score, paths = found.figures["suites"][SUITE], found.figures["paths"]
        low, high = score["interval"]
        shares = ", ".join(f"{path} {share:.0%}" for path, share in paths.items())
        return (
            f"{SUITE}  {score['accuracy']:.1%} [{low:.1%}, {high:.1%}] of {score['problems']} queries; {shares}; "
            f"{found.figures['generations_a_query']:.2f} generations a query\n{out}"
        )


CONTRIBUTES = (ServedSystem(),)
