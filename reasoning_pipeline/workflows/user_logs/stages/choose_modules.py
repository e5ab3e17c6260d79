"""Decides what answers for each cluster, and publishes the system that routes queries: base, adapters, centroids,
thresholds.

Primary where the gap is low and the expert won strictly more than `accept` on logs that neither it nor the choice of
its epoch has seen; else reflective (choice.py). Win rates are told with counts and intervals: some tens of held-out
logs decide little. `mode` makes the paper's other arms of the same pieces. The base's weights are named, not copied.
No label is spent.
Try it: python -m reasoning_pipeline run recipes/smoke/choose_modules.yaml
"""

from __future__ import annotations

import shutil
from collections import Counter
from dataclasses import asdict
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from reasoning_pipeline.base.files import write_json
from reasoning_pipeline.recipe.stage import Input
from reasoning_pipeline.run.context import StageContext, StageOutcome
from reasoning_pipeline.workflows.user_logs.choice import EpochRule, decisions, load_critics, load_experts
from reasoning_pipeline.workflows.user_logs.clusters import CENTROIDS_FILE, CLUSTERS_FILE, Grouping
from reasoning_pipeline.workflows.user_logs.gap import load_gaps
from reasoning_pipeline.workflows.user_logs.logs import LOGS_FILE, load_logs
from reasoning_pipeline.workflows.user_logs.online import Before, adapter_place, save_learned
from reasoning_pipeline.workflows.user_logs.rules import RULES_FILE
from reasoning_pipeline.workflows.user_logs.settings import WIN_RATE, OfClusters
from reasoning_pipeline.workflows.user_logs.system import MEMORY_FOLDER, SYSTEM_FILE, Thresholds


class Config(OfClusters):
    publishes: ClassVar[str] = "system"
    answers: ClassVar[bool] = True
    heavy: ClassVar[bool] = False

    stage: Literal["choose_modules"] = "choose_modules"
    embedder: Annotated[str | None, Input("checkpoint")] = None
    """The model that the clusters were made with, where it was one."""
    experts: Annotated[str | None, Input("experts")] = None
    """Experts with what their epochs won."""
    critics: Annotated[str | None, Input("critics")] = None
    """Critics."""
    accept: float = Field(WIN_RATE, ge=0, le=1)
    """Strictly more wins than this."""
    epoch: EpochRule = "best"
    """`last` takes each expert's last epoch, unseen: an ablation."""
    verify: bool = True
    """Off, an expert is taken without being asked what it won."""
    serving: Thresholds = Thresholds()
    """How the system answers."""


def run(config: Config, context: StageContext) -> StageOutcome:
    """Publishes system.json, the centroids, and the adapters that are used."""
    inputs = context.inputs
    grouping = Grouping.load(inputs["clusters"])
    experts, critics = load_experts(inputs.get("experts")), load_critics(inputs.get("critics"))
    before = Before.of(inputs.get("before"), grouping)
    made = decisions(
        grouping.count,
        load_gaps(inputs.get("gap")),
        experts,
        gap_threshold=config.gap_threshold,
        accept=config.accept,
        rule=config.epoch,
        verify=config.verify,
    )
    output = context.fresh_output()
    everywhere = config.serving.mode == "experts_everywhere"
    for decision in made:
        name = f"cluster-{decision.cluster}"
        if decision.epoch is not None and (decision.path == "primary" or everywhere):
            taken = inputs["experts"] / name / f"epoch-{decision.epoch}"
            shutil.copytree(taken, adapter_place(output, "expert", decision.cluster))
        if decision.cluster in critics:
            shutil.copytree(inputs["critics"] / name, adapter_place(output, "critic", decision.cluster))
    for file in (CENTROIDS_FILE, CLUSTERS_FILE):
        shutil.copyfile(inputs["clusters"] / file, output / file)
    learned = [expert.learned for expert in experts.values()] + [one.get("learned") for one in critics.values()]
    if before is not None:
        learned.append(tuple(before.learned))
    save_learned(output, learned)
    if config.serving.mode in ("bm25", "embedding"):
        (output / MEMORY_FOLDER).mkdir()
        for file in (LOGS_FILE, RULES_FILE):
            shutil.copyfile(inputs["rules"] / file, output / MEMORY_FOLDER / file)
    told = {
        "continues": before.folder.name if before is not None else None,
        "decisions": {str(decision.cluster): asdict(decision) for decision in made},
    }
    write_json(
        output / SYSTEM_FILE,
        {
            "base": inputs["policy"].name if config.policy.startswith("step:") else config.policy,
            "embedder": grouping.embedder if (config.embedder or "step:").startswith("step:") else config.embedder,
            "embedding": grouping.embedding,
            "thresholds": config.serving.model_dump(),
            "language": Counter(log.language for log in load_logs(inputs["rules"])).most_common(1)[0][0],
            **told,
        },
    )
    if config.before is not None:
        print(f"continues {before.folder.name}" if before else "another number of clusters: nothing was kept")
    for decision in made:
        print(decision.told())
    experts_used = sum(decision.path == "primary" for decision in made)
    return StageOutcome(output, {"mode": config.serving.mode, **told, "experts": experts_used, "critics": len(critics)})
