"""How a recommender is scored and served outside of a plan."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import ClassVar

from reasoning_pipeline.base.files import write_json
from reasoning_pipeline.base.text import columns
from reasoning_pipeline.hardware.profile import HardwareProfile
from reasoning_pipeline.registry.resolve import ResolvedModel
from reasoning_pipeline.run.uses import Use
from reasoning_pipeline.workflows.recommendation.bundle import Bundle, is_recommender
from reasoning_pipeline.workflows.recommendation.ranking import BESIDE, evaluate
from reasoning_pipeline.workflows.recommendation.settings import Rankings


class Recommending(Use):
    suite: ClassVar[str] = "ranking"
    asked: ClassVar[Rankings] = Rankings()

    def knows(self, folder: Path) -> bool:
        return is_recommender(folder)

    def evaluate(self, model: ResolvedModel, out: Path, *, profile: HardwareProfile, seed: int) -> str:
        for ranking in self.asked.suites:
            shutil.rmtree(out / ranking, ignore_errors=True)
        out.mkdir(parents=True, exist_ok=True)
        result = evaluate(Bundle.load(model.folder), out, self.asked, seed=seed)
        write_json(out / "ranking.json", result | {"checkpoint": model.name, "fingerprint": model.fingerprint})
        k = self.asked.k
        rows = [("ranking", "users", f"HR@{k}, 95 %", f"NDCG@{k}", "MRR", *(f"{name} HR" for name in BESIDE))]
        for name, found in result["suites"].items():
            low, high = found["interval"] or (0.0, 1.0)
            hit = f"{100 * (found['accuracy'] or 0):.1f} [{100 * low:.1f}, {100 * high:.1f}]"
            means = (f"{found[f'ndcg@{k}']:.3f}", f"{found['mrr']:.3f}")
            beside = (f"{100 * found['beside'][other][f'hr@{k}']:.1f}" for other in BESIDE)
            rows.append((name, f"{found['problems']:,}", hit, *means, *beside))
        return "\n".join(columns(rows))

    def serve(self, model: ResolvedModel, *, profile: HardwareProfile, host: str, port: int | None, key: str) -> None:
        from reasoning_pipeline.run.endpoint import listen
        from reasoning_pipeline.workflows.recommendation.serving import Recommender, application

        def ready(url: str) -> None:
            print(f"{model.folder.name} answers at {url}/recommend; Ctrl-C stops it", flush=True)

        app = application(Recommender(Bundle.load(model.folder), model.folder.name), key)
        listen(app, host=host, port=port, ready=ready)


CONTRIBUTES = (Recommending(),)
