"""How a recommender is scored and served outside of a plan."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import ClassVar

from reasoning_pipeline.base.files import write_json
from reasoning_pipeline.hardware.profile import HardwareProfile
from reasoning_pipeline.registry.resolve import ResolvedModel
from reasoning_pipeline.run.uses import Use
from reasoning_pipeline.workflows.recommendation.bundle import Bundle, is_recommender
from reasoning_pipeline.workflows.recommendation.evaluating import BESIDE, evaluate
from reasoning_pipeline.workflows.recommendation.ranking import RANKINGS

NEGATIVES, K, SHOWN = 100, 10, 6


class Recommending(Use):
    suite: ClassVar[str] = "ranking"

    def knows(self, folder: Path) -> bool:
        return is_recommender(folder)

    def evaluate(self, model: ResolvedModel, out: Path, *, profile: HardwareProfile, seed: int) -> str:
        bundle = Bundle.load(model.folder)
        for ranking in RANKINGS:
            shutil.rmtree(out / ranking, ignore_errors=True)
        out.mkdir(parents=True, exist_ok=True)
        result = evaluate(bundle, out, rankings=RANKINGS, part="test", negatives=NEGATIVES, k=K, shown=SHOWN, seed=seed)
        write_json(out / "ranking.json", result | {"checkpoint": model.name, "fingerprint": model.fingerprint})
        rows = [("ranking", "users", f"HR@{K}, 95 %", f"NDCG@{K}", "MRR", *(f"{name} HR" for name in BESIDE))]
        for name, found in result["suites"].items():
            low, high = found["interval"] or (0.0, 1.0)
            hit = f"{100 * (found['accuracy'] or 0):.1f} [{100 * low:.1f}, {100 * high:.1f}]"
            means = (f"{found[f'ndcg@{K}']:.3f}", f"{found['mrr']:.3f}")
            beside = (f"{100 * found['beside'][other][f'hr@{K}']:.1f}" for other in BESIDE)
            rows.append((name, f"{found['problems']:,}", hit, *means, *beside))
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        padded = ("  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)) for row in rows)
        return "\n".join(line.rstrip() for line in padded)

    def serve(self, model: ResolvedModel, *, profile: HardwareProfile, host: str, port: int | None, key: str) -> None:
        from reasoning_pipeline.workflows.recommendation.serving import serve

        serve(Bundle.load(model.folder), model.folder.name, host=host, port=port, key=key)


CONTRIBUTES = (Recommending(),)
